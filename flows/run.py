"""Each flow run in a process of its own: `python -I -m flows.run ci|cd CONTROL`, started by the worker only.

It imports its half's flows, then forks a child for each `<flow> <flow run id>` that comes over the socket with the
descriptor CONTROL (`flows.prefork`). Everything else that a run carries in Prefect, its deployment, command, path,
storage, is not looked at, and nothing is unpickled.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect._internal import control_listener
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.engine import handle_engine_signals
from prefect.flow_engine import run_flow
from prefect.states import Failed

from flows import engine, prefork
from flows.clock import OWN_CLOCK
from interlock.contract.builtin import FLOWS, BuiltIn, Half, Known, built_in, checked
from interlock.errors import InterlockError, ParameterError
from tasks.common.redaction import keep_from_dumps

Flows = Mapping[str, Flow[..., Any]]


def main(arguments: Sequence[str]) -> int:
    """Import, and run in a child what is asked for; its exit status is 0 when the run's state tells how it ended."""
    half: Half = "ci" if arguments[0] == "ci" else "cd"
    engine.prepare()
    keep_from_dumps()  # and so what is forked from here
    flows = {flow.name: _flow(flow) for flow in FLOWS[half].values()}
    if half == "cd":
        import_module("flows.cd.own_clock")
    asked = prefork.next_run(socket.socket(fileno=int(arguments[1])))
    if asked is None:
        return 0
    name, _, run_id = asked.partition(" ")
    if half == "cd" and name == OWN_CLOCK:
        return _by_own_clock(run_id)
    with get_client(sync_client=True) as client:
        run(half, flows, asked=name, run_id=UUID(run_id), client=client)
    return 0


def run(half: Half, flows: Flows, *, asked: str, run_id: UUID, client: SyncPrefectClient) -> None:
    """Run one built-in flow with checked parameters, whatever the worker has checked already."""
    # SIGTERM comes from the worker, which says how the run ended: the engine only unwinds, and proposes no state.
    control_listener._set_intent("relinquish")
    with handle_engine_signals(run_id):
        flow_run = client.read_flow_run(run_id)
        try:
            name = client.read_flow(flow_run.flow_id).name
            if name != asked:
                raise ParameterError(f"the run's flow is {name!r} and not {asked!r}, as it was a moment ago")
            parameters = checked(built_in(half, name), flow_run.parameters, known(half))
        except InterlockError as refusal:
            client.set_flow_run_state(run_id, Failed(name="Refused", message=str(refusal)), force=True)
            return
        _engine(flows[name], flow_run, parameters)


def known(half: Half) -> Known:
    """What the host's own file lets parameters name; read anew for every run."""
    host = getattr(import_module(f"tasks.{half}.host"), f"load_{half}")()
    return {"repository": host.repositories} if half == "ci" else {"environment": host.environments}


def _engine(flow: Flow[..., Any], flow_run: FlowRun, parameters: dict[str, Any]) -> None:
    flow_run.parameters = parameters
    # "state": a result that somebody attached to the run in Prefect is never fetched, let alone loaded.
    asyncio.run(run_flow(flow, flow_run=flow_run, parameters=parameters, return_type="state"))  # type: ignore[arg-type]


def _by_own_clock(environment: str) -> int:
    """Prefect is not even asked."""
    return int(import_module("flows.cd.own_clock").run(environment))


def _flow(flow: BuiltIn) -> Flow[..., Any]:
    module, _, function = flow.entrypoint.rpartition(".")
    loaded = getattr(import_module(module), function)
    if not isinstance(loaded, Flow) or loaded.name != flow.name:
        raise TypeError(f"{flow.entrypoint} is not a flow named {flow.name}")
    return loaded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
