"""Trace: where what runs came from, who agreed, what checked it. Reads only, and no lock is taken."""

from __future__ import annotations

from collections.abc import Sequence

from flows.presenter import Presenter
from interlock.cd import trace as form
from interlock.cd.host import CdHost
from interlock.cd.receipt_facts import signers_told
from interlock.cd.receipts import Entry
from interlock.cd.trace import Known, Pod, Query, Trace
from interlock.errors import GitError, InterlockError
from tasks.cd import ledger, record
from tasks.cd import trace as reading
from tasks.cd.cluster import connect
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead, read_verified
from tasks.common.release_history import History, read_history


async def trace_order(presenter: Presenter, host: CdHost, query: Query, environments: Sequence[str]) -> Trace:
    """What is known of what was asked for, shown and given.

    Ledger, environment repository and cluster are each read as far as they can be; what could not is said.
    """
    unread: list[str] = []
    entries = {name: await _entries(presenter, host, name, unread) for name in environments}
    head = await _head(presenter, host, environments, unread)
    history = await _history(presenter, host, head, entries, unread)
    found = [await _known(presenter, host, name, entries[name], history) for name in environments]
    found += [Known("", (), unread=tuple(unread))] if unread else []
    return form.trace(query, found)


async def _entries(presenter: Presenter, host: CdHost, name: str, unread: list[str]) -> tuple[Entry, ...]:
    try:
        return await presenter.step(ledger.read, host.ledger, name, state=host.state, keys=ledger.keys_of(host))
    except GitError as error:
        unread.append(f"the newest receipts of {name}, because the ledger does not answer: {_first(error)}")
        return await presenter.step(ledger.read_seen, host.ledger, name, state=host.state, keys=ledger.keys_of(host))


async def _head(
    presenter: Presenter, host: CdHost, environments: Sequence[str], unread: list[str]
) -> VerifiedHead | None:
    """The newest verified head that this host has of any of the environments, without the network."""
    marks = [mark for name in environments if (mark := record.read_mark(host.state, name)) and mark.verified]
    mirror = git.mirror_path(host.state, host.environment_repository.name)
    heads = [mark.verified for mark in marks if mark.verified]
    newest = next((one for one in heads if all(git.is_ancestor(mirror, each, one) for each in heads)), None)
    if newest is None:
        unread.append("the environment repository, of which this host has verified nothing yet")
        return None
    try:
        return await presenter.step(read_verified, host.environment_repository, state=host.state, commit=newest)
    except InterlockError as error:
        unread.append(f"the environment repository: {_first(error)}")
        return None


async def _history(
    presenter: Presenter,
    host: CdHost,
    head: VerifiedHead | None,
    entries: dict[str, tuple[Entry, ...]],
    unread: list[str],
) -> History:
    if head is None:
        return History()
    told = signers_told(entry for found in entries.values() for entry in found)
    try:
        return await presenter.step(
            read_history,
            host.environment_repository,
            head.commit,
            state=host.state,
            repository=head.repository,
            told=told,
        )
    except InterlockError as error:
        unread.append(f"the environment repository's history: {_first(error)}")
        return History()


async def _known(presenter: Presenter, host: CdHost, name: str, entries: tuple[Entry, ...], history: History) -> Known:
    unread: list[str] = []
    silent = [each.statement.verified for each in entries if each.receipt.format == 1 and each.statement.verified]
    older = (
        await presenter.step(reading.read_releases, host.environment_repository, name, silent, state=host.state)
        if silent
        else {}
    )
    pods = await _pods(presenter, host, name, unread)
    return reading.known(name, entries, history, older=older, pods=pods, unread=tuple(unread))


async def _pods(presenter: Presenter, host: CdHost, name: str, unread: list[str]) -> tuple[Pod, ...]:
    ceiling = host.environments[name]
    try:
        with connect(host.clusters[ceiling.cluster].kubeconfig) as cluster:
            return await presenter.step(reading.look_for_pods, cluster, ceiling.namespaces)
    except InterlockError as error:
        unread.append(f"the pods of {name}: {_first(error)}")
        return ()


def _first(error: InterlockError) -> str:
    return error.message.splitlines()[0]
