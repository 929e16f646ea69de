"""The three paths, over real HTTP on a free port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from shop import __version__
from shop.server import Shop


@pytest.fixture
def url() -> Iterator[str]:
    with Shop(0, greeting="Good morning.", commit="4f2a91c07be3") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def get(url: str) -> str:
    with urlopen(url, timeout=5) as response:
        return response.read().decode()


def test_the_front_page_greets_and_names_the_version(url: str) -> None:
    """A person who opens the page sees the configured greeting and which version runs."""
    assert get(f"{url}/") == f"Good morning. This is shop {__version__}.\n"


def test_health_is_ok(url: str) -> None:
    """The probe's path says ok."""
    assert json.loads(get(f"{url}/health")) == {"status": "ok"}


def test_the_version_is_machine_readable(url: str) -> None:
    """A script can ask which version runs, and from which commit."""
    assert json.loads(get(f"{url}/version")) == {"version": __version__, "commit": "4f2a91c07be3"}


def test_an_unknown_path_is_not_found(url: str) -> None:
    """What is not there is a 404, with or without a query."""
    with pytest.raises(HTTPError, match="404"):
        get(f"{url}/nothing?here=1")
