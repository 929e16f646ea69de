"""A key for each application repository: whoever has one releases nothing of another's, by real commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.ci.host import CiHost, Trivy
from interlock.ci.targets import Proven, changes, targets
from interlock.contract import evidence, layout
from interlock.contract.canonical import digest
from interlock.contract.host import EnvironmentRemote, Registry, Remote, RootPin, Signing
from interlock.contract.models import Source
from interlock.contract.trailers import Trailers
from interlock.errors import Refused
from tasks.ci.release_commit import push_release
from tasks.common import git
from tasks.common.environment_repository import VerifiedHead, fetch_verified, verify
from tests import examples_of_repositories as example
from tests.git.conftest import Key, Server, make_repository


@pytest.fixture
def host(server: Server, tmp_path: Path) -> CiHost:
    """Of two application repositories, one with a key of its own, which are bound to a component each."""
    repository = make_repository(server, tmp_path)
    person, shop, blog = (Key.make(tmp_path / name) for name in ("ada", "ci-shop", "ci-blog"))
    tree = example.environment_tree(released=False, person_key=person.public, machine_key=shop.public)
    bindings, signers = tree.text(layout.BINDINGS), tree.text(layout.SIGNERS)
    theirs = bindings.partition("bindings:\n")[2].replace("ci-shop", "ci-blog")
    theirs = theirs.replace(f"source: {example.SOURCE_REPOSITORY}", "source: blog")
    theirs = theirs.replace(f"component: {example.COMPONENT}", "component: blog")
    machine = signers[signers.index("  - name: ci-shop") :].replace(shop.public.strip(), blog.public.strip())
    files: dict[str, bytes | None] = {
        **tree.files,
        layout.BINDINGS: (bindings + theirs).encode(),
        layout.SIGNERS: (signers + machine.replace("name: ci-shop", "name: ci-blog")).encode(),
    }
    root = repository.write(None, files, by=person)
    git.push(repository.mirror, root, repository.remote, expected=None)
    remote, state = repository.as_role("ci"), tmp_path / "state"
    state.mkdir()
    return CiHost(
        format=1,
        prefect="http://127.0.0.1:1/api",
        state=state,
        environment_repository=EnvironmentRemote(
            name="environments", url=remote.url, auth=remote.auth, root=RootPin(commit=root, keys=(person.public,))
        ),
        repositories={
            name: Remote(url=f"http://127.0.0.1:1/{name}.git") for name in (example.SOURCE_REPOSITORY, "blog")
        },
        registry=Registry(host="registry.example"),
        signing=Signing(signer="ci-shop", key=shop.path),
        release_keys={"blog": Signing(signer="ci-blog", key=blog.path)},
        trivy=Trivy(cache=state),
    )


def test_each_release_is_signed_by_its_repositorys_key(host: CiHost) -> None:
    """And by no other."""
    for source, component, signer in (
        (example.SOURCE_REPOSITORY, example.COMPONENT, "ci-shop"),
        ("blog", "blog", "ci-blog"),
    ):
        head = fetch(host)
        commit = release(host, host.signing_of(source), source, component)

        mirror = git.mirror_path(host.state, "environments")
        (verified,) = verify(mirror, host.environment_repository.root, commit, since=head.commit)
        assert verified.signer == signer


@pytest.mark.parametrize("source", [example.SOURCE_REPOSITORY, "blog"])
def test_the_other_key_releases_nothing_of_it(host: CiHost, source: str) -> None:
    """The rules that CD has refuse it before it is pushed."""
    component = {"blog": "blog"}.get(source, example.COMPONENT)
    (other,) = {each for each in host.signings if each != host.signing_of(source)}
    head = fetch(host)

    with pytest.raises(Refused, match=other.signer):
        release(host, other, source, component)

    assert fetch(host).commit == head.commit


def fetch(host: CiHost) -> VerifiedHead:
    return fetch_verified.fn(host.environment_repository, state=host.state, since=None)


def release(host: CiHost, signing: Signing, source: str, component: str) -> str:
    head = fetch(host)
    image = f"{example.IMAGE_REPOSITORY}@{digest(component.encode())}"
    proof = evidence.envelope(example.statements(image, component=component))
    bound = targets(head.repository, source=source, signer=host.signing_of(source).signer)
    assert bound
    return push_release.fn(
        host,
        signing=signing,
        parent=head.commit,
        changes=changes(
            head.tree,
            [Proven(each, proof) for each in bound],
            image=image,
            source=Source(repository=source, commit=example.SOURCE_COMMIT),
        ),
        subject=f"Release {component}",
        trailers=Trailers(source, example.SOURCE_COMMIT, "run-1", digest(proof), component),
    )
