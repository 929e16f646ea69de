"""The forge of a repository: which door speaks to it about a branch's protection."""

from __future__ import annotations

from typing import Protocol

from interlock.contract.forge import ForgeAccount
from interlock.contract.protection import Settings, Wanted
from tasks.common.effect import effect
from tasks.common.forges import connected, insist, read_token


class Door(Protocol):
    """One repository. Every call may raise ForgeError, and may be made twice without harm."""

    def observe(self, branch: str) -> Settings: ...

    def apply(self, wanted: Wanted) -> tuple[str, ...]:
        """Make the branch's protection at least as strict as wanted; what is stricter stays.

        Gives what this forge, or its edition, would not take, one line each.
        """


@effect(name="read how the forge guards the branch", task_run_name="how {account.project} guards {branch}")
def observe(account: ForgeAccount, branch: str) -> Settings:
    """What the forge holds the branch to."""
    door = _opened(account)
    return insist(account, lambda: door.observe(branch))


def apply(account: ForgeAccount, wanted: Wanted) -> tuple[str, ...]:
    """Make it so; what the forge would not take."""
    door = _opened(account)
    return insist(account, lambda: door.apply(wanted))


def _opened(account: ForgeAccount) -> Door:
    door: Door = connected(__package__, account, read_token(account))
    return door
