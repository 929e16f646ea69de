"""CI is made to sign a commit that nobody merged, that nobody signed, or that is older than what is released.

Defence: the signer fetches the application repository itself and signs only what is on the protected branch, what the
source's own rule (`commit_keys` in trust/attesters.yaml) lets through, and nothing behind what an environment has
(tasks/ci/signer.py). CD asks the evidence for branch and key once more, and refuses a release that CI's key brought
back from earlier (interlock/cd/proofs.py).
Not defended: what somebody merges who may. A commit on the branch whose history holds unsigned ones passes when it is
signed itself: whoever signed it took them in.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.ci.host import SignerHost
from interlock.contract import repository as repositories
from interlock.contract.attesters import Attester, AttestersFile
from interlock.contract.models import ReleasedComponent, Source
from interlock.errors import Refused
from tasks.ci.signer import Keys, Signer
from tasks.common.environment_repository import VerifiedHead
from tests import examples_of_evidence as proof
from tests.git.conftest import Key, Repository
from tests.unit.ci.test_signing import REQUEST, TARGET


def signer(repository: Repository, state: Path) -> Signer:
    """One that knows the application repository; the other parts of its host are not asked here."""
    fields: dict[str, Any] = {"state": state, "repositories": {"shop": repository.remote}}
    return Signer(SignerHost.model_construct(**fields), Keys())


def asked(signer: Signer, commit: str, *, rule: tuple[str, ...] = (), released: str = "") -> str:
    """What CI asks for that commit, in an environment that has another one. The fingerprint of who signed it."""
    request = REQUEST.model_copy(update={"facts": replace(REQUEST.facts, source=_source(commit), head=commit)})
    tree = proof.tree()
    attester = Attester(source="shop", keys=(proof.KEY.public,), commit_keys=rule)
    read = replace(repositories.read(tree), attesters=AttestersFile(format=1, attesters=(attester,)))
    there = ReleasedComponent(image=REQUEST.facts.image, source=_source(released), evidence="sha256:" + "1" * 64)
    bound = [replace(TARGET, released=there)] if released else [TARGET]
    return signer._require_source(request, VerifiedHead("c" * 40, tree, read, ()), bound)


def _source(commit: str) -> Source:
    return Source(repository="shop", commit=commit or "0" * 40)


@pytest.fixture
def line(repository: Repository) -> tuple[str, str, str]:
    """Two commits of the branch, and one beside it that nobody merged."""
    first = repository.push(None, {"a": b"1"})
    second = repository.push(first, {"a": b"2"})
    beside = repository.write(first, {"a": b"evil"})
    _push_beside(repository, beside)
    return first, second, beside


def _push_beside(repository: Repository, commit: str) -> None:
    """To a branch of its own, as any developer may."""
    import subprocess

    where = (f"--git-dir={repository.mirror}", "push", "--quiet", str(repository.bare), f"{commit}:refs/heads/evil")
    subprocess.run(("git", *where), check=True)


def test_an_older_commit_succeeds_where_only_the_branch_is_asked_for(
    repository: Repository, line: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the branch, after all: its hole is back, with a signature of today."""
    monkeypatch.setattr("interlock.ci.signing.require_forward", lambda *_: None)

    asked(signer(repository, tmp_path), line[0], released=line[1])


def test_an_unsigned_commit_succeeds_where_the_source_has_no_rule(
    repository: Repository, line: tuple[str, str, str], tmp_path: Path
) -> None:
    """Whoever may push to the branch decides what is built."""
    assert asked(signer(repository, tmp_path), line[1]) == ""


def test_a_commit_that_nobody_merged_is_refused(
    repository: Repository, line: tuple[str, str, str], tmp_path: Path
) -> None:
    """Also when its server has it, on a branch of its own."""
    with pytest.raises(Refused, match="is not on its branch main") as caught:
        asked(signer(repository, tmp_path), line[2])

    assert caught.value.rule == "signer-source"


def test_an_older_commit_is_refused(repository: Repository, line: tuple[str, str, str], tmp_path: Path) -> None:
    """Behind what the environment has; the newest, and the same once more, are signed."""
    one = signer(repository, tmp_path)

    asked(one, line[1], released=line[0])
    asked(one, line[1], released=line[1])
    with pytest.raises(Refused, match="which is newer") as caught:
        asked(one, line[0], released=line[1])

    assert caught.value.rule == "signer-backwards"


def test_a_commit_by_a_key_that_the_rule_does_not_name_is_refused(
    repository: Repository, line: tuple[str, str, str], tmp_path: Path
) -> None:
    """The branch is not enough: push rights are not a signing key."""
    one, mallory = signer(repository, tmp_path), Key.make(tmp_path / "mallory")

    assert asked(one, line[1], rule=(repository.key.public,)).startswith("SHA256:")
    with pytest.raises(Refused) as caught:
        asked(one, line[1], rule=(mallory.public,))

    assert caught.value.rule == "source-signature"
