"""How CD's runs are called: by environment and short commit, as soon as the commit is known."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext


class HasCommit(Protocol):
    @property
    def environment(self) -> str: ...
    @property
    def commit(self) -> str: ...


T = TypeVar("T", bound=HasCommit)


def actor() -> str:
    """Who asks, for the ledger: this flow run."""
    context = FlowRunContext.get()
    return f"flow run {context.flow_run.id}" if context and context.flow_run else "flow"


async def named(order: Awaitable[T]) -> T:
    """Await an order and put the commit that it was about into the run's name."""
    result = await order
    context = FlowRunContext.get()
    if context and context.flow_run:
        async with get_client() as client:
            name = f"{context.flow.name} {result.environment} {result.commit[:7]}" if context.flow else None
            await client.update_flow_run(context.flow_run.id, name=name)
    return result
