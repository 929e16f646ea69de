"""What Prefect's engine leaves out in a run's process."""

from __future__ import annotations

import os
import subprocess
import sys

PREPARED = """
import ssl, time
from types import SimpleNamespace
from flows import engine
engine.prepare()
"""


def prepared(then: str) -> str:
    """What a process of its own prints that was made so: the changes are for good."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + then],
        env={**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_clients_of_prefect_share_one_tls_context() -> None:
    """A client is made without reading the certificates once more, and others still get contexts of their own."""
    said = prepared("""
from prefect.client.orchestration import get_client
own = ssl.create_default_context()
ssl.create_default_context = None
with get_client(sync_client=True): pass
get_client()
print(own.verify_mode.name)
""")
    assert said == "CERT_REQUIRED\n"


def test_only_long_runs_send_heartbeats() -> None:
    """The first heartbeat comes after ten seconds."""
    said = prepared("""
from prefect.flow_engine import BaseFlowRunEngine
sent = []
import prefect.flow_engine
prefect.flow_engine.emit_event = lambda **event: sent.append(event["event"])
run = SimpleNamespace(flow_run=SimpleNamespace(id="1"))
beat = lambda: BaseFlowRunEngine._emit_flow_run_heartbeat(run, {"prefect.resource.id": "x"}, [])
beat()
print(sent)
time.monotonic = lambda now=time.monotonic(): now + 30
beat()
print(sent)
""")
    assert said == "[]\n['prefect.flow-run.heartbeat']\n"
