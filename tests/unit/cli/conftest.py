"""What several commands begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.commands import interlock


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an environment repository for `shop`, whose settings sign what is committed in it."""
    assert interlock("key", "ci.key", folder=tmp_path).returncode == 0
    options = ("--application", "shop", "--image", "127.0.0.1:5000/shop/web", "--ci-key", "ci.key.pub", "--yes")
    done = interlock("init", "environment", "environments", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path
