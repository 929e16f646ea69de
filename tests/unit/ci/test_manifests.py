"""The manifests of a release: rendered and judged once for one commit of the environment repository."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.ci import assess
from flows.ci.assess import Ground, Manifests
from interlock.ci.targets import targets
from interlock.contract import layout, repository
from interlock.contract.finding import Database, Scan
from interlock.contract.render import render
from interlock.contract.repository import Repository
from tasks.ci.scanner import Scanner
from tasks.common.validate import Validated
from tests import examples_of_repositories as example


class Counting:
    """A presenter whose steps say what they would, and that remembers their names."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def step(self, effect: Any, *args: Any, **_: Any) -> Any:
        self.steps.append(effect.name)
        match effect.name:
            case "render":
                return render(args[0], args[1], placeholder=args[2])
            case "validate":
                return Validated((), ())
        return Scan("manifests")


@pytest.fixture
def presenter() -> Counting:
    return Counting()


def assessed(presenter: Counting, tmp_path: Path, read: Repository, known: Manifests | None) -> Manifests:
    program = Scanner(tmp_path, tmp_path, tmp_path, pinned=True)
    bound = targets(read, source=None, signer=None)

    async def order() -> Manifests:
        ground = Ground(program, assess.checked(Database(example.TIME, "sha256:0")), tmp_path)
        return await assess.manifests(presenter, ground, read, bound, known=known)  # type: ignore[arg-type]

    return asyncio.run(order())


def test_of_one_commit_they_are_known(presenter: Counting, tmp_path: Path) -> None:
    """Nothing is rendered again for it; of another commit everything but the scan is, when they are alike."""
    read = repository.read(example.environment_tree())
    first = assessed(presenter, tmp_path, read, None)
    presenter.steps.clear()

    assert assessed(presenter, tmp_path, read, first) is first
    assert presenter.steps == []
    assessed(presenter, tmp_path, replace(read, commit="f" * 40), first)
    assert sorted(set(presenter.steps)) == ["render", "validate"]


def test_other_manifests_are_scanned(presenter: Counting, tmp_path: Path) -> None:
    """What was found in those before says nothing of them."""
    first = assessed(presenter, tmp_path, repository.read(example.environment_tree()), None)
    changed = repository.read(example.environment_tree({layout.values("dev", "shop"): "replicas: 3\n"}))
    presenter.steps.clear()

    assessed(presenter, tmp_path, replace(changed, commit="f" * 40), first)
    assert "scan manifests" in presenter.steps
