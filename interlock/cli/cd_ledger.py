"""The command line's way to the ledger of a CD host: loaded only by the commands that need one."""

from __future__ import annotations

from dataclasses import replace

from flows.cd.remembered import in_cluster
from interlock.cd import ledger_check
from interlock.cd.host import CdHost
from interlock.cd.ledger_check import Checkpoint
from interlock.cli.cd import registered
from interlock.cli.terminal import TerminalPresenter
from interlock.errors import InterlockError
from tasks.cd import ledger, record

HERE = "the mark on this host"


async def verify_order(presenter: TerminalPresenter, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Show what is wrong with the ledger, and give it a line each."""
    host, names = registered(None)
    found: list[Checkpoint] = []
    unread: list[str] = []
    for name in names:
        if mark := record.read_mark(host.state, name):
            found.append(Checkpoint(name, mark.receipts, mark.receipt, HERE))
            found += await _of_cluster(presenter, host, name, mark.environment_id, unread)
    checked = await presenter.step(
        ledger.check, host.ledger, state=host.state, keys=(*ledger.keys_of(host), *keys), checkpoints=tuple(found)
    )
    checked = replace(checked, unread=tuple(unread))
    await presenter.show(ledger_check.report(checked))
    return tuple(map(str, checked.problems))


async def _of_cluster(
    presenter: TerminalPresenter, host: CdHost, name: str, environment_id: str, unread: list[str]
) -> tuple[Checkpoint, ...]:
    """What the environment's record remembers; a cluster that does not answer is told, and keeps nothing back."""
    ceiling = host.environments[name]
    try:
        remembered = await in_cluster(presenter, host, name, environment_id=environment_id)
    except InterlockError as error:
        unread.append(f"{name}'s record in cluster {ceiling.cluster}: {error.message.splitlines()[0]}")
        return ()
    if remembered is None:
        unread.append(f"{name}'s record in cluster {ceiling.cluster}: there is none")
        return ()
    keeper = f"the record in {ceiling.control_namespace}"
    return (Checkpoint(name, remembered.receipts, remembered.receipt, keeper),)
