"""The README's way to bring a service of one's own, line by line as it stands there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox import person
from sandbox.demo.__main__ import newcomer_commands
from sandbox.demo.stage import Act
from sandbox.pipeline import Pipeline
from sandbox.users import CHECKOUT

pytestmark = pytest.mark.timeout(1500)  # whoever comes first waits for the walk

SERVICE = {
    "Dockerfile": """\
FROM interlock.sandbox/python:3.11
WORKDIR /app
COPY hello.py .
COPY tests tests
USER 65532
EXPOSE 8080
CMD ["python", "hello.py"]
""",
    "hello.py": """\
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def greet(path):
    return {"hello": path.strip("/") or "world"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(greet(self.path)).encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
""",
    "tests/test_hello.py": """\
import unittest

from hello import greet


class Greeting(unittest.TestCase):
    def test_greets_the_world(self):
        self.assertEqual(greet("/"), {"hello": "world"})
""",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A newcomer's home, with a service of their own in ~/hello."""
    for name, text in SERVICE.items():
        path = tmp_path / "hello" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_newcomers_service_answers(
    pipeline: Pipeline, walked: Mapping[str, Act], quick_polls: None, home: Path
) -> None:
    """After the walk, the README's lines alone bring a new service from a bare folder to an answer in the cluster."""
    assert walked  # the demo is as far as the README's reader is
    environment = {**os.environ, "HOME": str(home), person.NAME: pipeline.place.name}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", newcomer_commands()],
        env=environment,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"hello": "world"}
    assert "Traceback" not in done.stderr

    asked = subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            'eval "$(.venv/bin/python -m sandbox shell)"; python -m sandbox on cd status',
        ],
        env=environment,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert any("hello" in line and "/hello/web@" in line for line in asked.stdout.splitlines()), asked.stdout
    assert "Warning" not in asked.stderr
