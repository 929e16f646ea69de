"""A run whose steps go side by side as those of a release do, for the test that looks at what Prefect draws of it."""

from __future__ import annotations

import asyncio

from prefect import flow

from flows.ci.together import all_of, together
from flows.presenter import PrefectPresenter
from flows.trail import about, shared, start
from tasks.common.effect import effect


@effect(name="check out")
def check_out() -> None: ...


@effect(name="scan sources")
def scan() -> None: ...


@effect(name="build image")
def build() -> None: ...


@effect(name="run tests")
def test() -> None: ...


@effect(name="release")
def release() -> None: ...


@flow(name="graph", persist_result=False)
async def graph() -> None:
    presenter = PrefectPresenter()
    await presenter.step(check_out)
    sources = start(presenter.step(scan))

    async def component(name: str) -> None:
        with about(name):
            await presenter.step(build)
            await presenter.step(test)
            await shared(sources)
            await presenter.step(release)

    await together(sources, all_of(component(name) for name in ("api", "web")))


if __name__ == "__main__":
    asyncio.run(graph())
