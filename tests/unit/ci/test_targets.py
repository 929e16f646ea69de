"""Where a component may be released, when that is pointless, and what a release changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interlock.ci.build_key import Content, build_key, inputs_digest, key_of_tests
from interlock.ci.targets import (
    Proven,
    Relation,
    Target,
    absent,
    changes,
    manifest_files,
    of_environment,
    open_targets,
    require_bound,
    targets,
    without_releases,
)
from interlock.contract import layout, release, repository
from interlock.contract.application import read_application
from interlock.contract.canonical import canonical
from interlock.contract.evidence import Base
from interlock.contract.finding import Finding, Scan
from interlock.contract.models import Component, Source, Tests
from interlock.contract.render import render
from interlock.contract.tree import Tree
from interlock.errors import InputError, Refused, Superseded
from tests import examples_of_repositories as example

IMAGE = f"{example.IMAGE_REPOSITORY}@sha256:{'2b' * 32}"
COMMIT = "6" * 40
APPLICATION = read_application("format: 1\ncomponents:\n  web:\n    tests: {command: [pytest]}\n")


def bound(*, released: bool = True, source: str = "shop", signer: str = "ci-shop") -> tuple[Target, ...]:
    return targets(repository.read(example.environment_tree(released=released)), source=source, signer=signer)


def test_bindings_give_targets() -> None:
    """With what stands there now."""
    (target,) = bound()

    assert (target.environment, target.application, target.component) == ("dev", "shop", "web")
    assert target.image == example.IMAGE_REPOSITORY
    assert target.released is not None
    assert target.released.source.commit == example.SOURCE_COMMIT
    assert bound(released=False)[0].released is None


@pytest.mark.parametrize(("source", "signer"), [("other", "ci-shop"), ("shop", "ada")])
def test_other_sources_and_signers_have_no_targets(source: str, signer: str) -> None:
    """And are told what is missing."""
    found = bound(source=source, signer=signer)

    assert found == ()
    with pytest.raises(InputError, match=f"^{source}: no environment has an application .* and the signer {signer}"):
        require_bound(APPLICATION, found, source=source, signer=signer)


def test_a_removed_application_does_not_come_back() -> None:
    """An environment whose folder of the application was removed gets no release, although its binding still stands."""
    tree = example.environment_tree(released=True)
    gone = f"{layout.folder('dev', 'shop')}/"
    left = Tree.of({path: data for path, data in tree.files.items() if not path.startswith(gone)}, commit=tree.commit)

    read = repository.read(left)
    assert targets(read, source="shop", signer="ci-shop") == ()
    assert absent(read, source="shop", signer="ci-shop") == (gone,)


def test_a_binding_about_an_unknown_component_is_told() -> None:
    """interlock.yaml and bindings must agree."""
    file = read_application("format: 1\ncomponents:\n  api:\n    tests: {command: [pytest]}\n")

    with pytest.raises(InputError, match=r"interlock\.yaml describes no component web"):
        require_bound(file, bound(), source="shop", signer="ci-shop")


def test_an_application_may_want_fewer_environments() -> None:
    """And none that its bindings do not give it."""
    text = "format: 1\ncomponents:\n  web:\n    environments: [{}]\n    tests: {{command: [pytest]}}\n"
    given = (*bound(), replace(bound()[0], environment="prod"))
    found = require_bound(read_application(text.format("prod")), given, source="shop", signer="ci-shop")

    assert [each.environment for each in found["web"]] == ["prod"]
    assert len(require_bound(APPLICATION, given, source="shop", signer="ci-shop")["web"]) == 2
    with pytest.raises(InputError, match="web names the environment stage, which it is not given") as refused:
        require_bound(read_application(text.format("prod, stage")), given, source="shop", signer="ci-shop")
    assert "it may name dev, prod" in refused.value.hint


def decide(relation: Relation) -> tuple[Target, ...]:
    return open_targets(bound(), source="shop", commit=COMMIT, relations={example.SOURCE_COMMIT: relation})


def test_only_a_newer_commit_is_released() -> None:
    """Older ones end as superseded, the same one has nothing left to do, another history is refused."""
    assert decide("older") == bound()
    assert decide("same") == ()
    with pytest.raises(Superseded, match="555555555555, which is released to dev, is newer"):
        decide("newer")
    with pytest.raises(Refused, match="does not descend from 555555555555") as caught:
        decide("diverged")
    assert caught.value.rule == "diverged"


def test_nothing_released_is_open() -> None:
    """The first release of a component."""
    assert len(open_targets(bound(released=False), source="shop", commit=COMMIT, relations={})) == 1


def test_a_release_changes_its_entry_and_its_evidence_only() -> None:
    """The evidence of what it replaces goes; the repository stays readable."""
    tree = example.environment_tree()
    proof = example.release_files(image=IMAGE, source_commit=COMMIT)[
        layout.evidence("dev", "shop", "web", IMAGE.partition("@")[2])
    ]
    assert proof is not None

    changed = changes(tree, [Proven(bound()[0], proof)], image=IMAGE, source=Source(repository="shop", commit=COMMIT))

    old = layout.evidence("dev", "shop", "web", example.IMAGE.partition("@")[2])
    new = layout.evidence("dev", "shop", "web", IMAGE.partition("@")[2])
    path = layout.release("dev", "shop")
    assert set(changed) == {old, new, path}
    assert changed[old] is None
    assert release.changed_components(tree.text(path), (changed[path] or b"").decode()) == {"web"}
    repository.read(example.environment_tree(changed))


def test_manifests_of_bound_applications_become_files() -> None:
    """One file per object, canonical, and an application that renders nothing is told."""
    tree = example.environment_tree(released=False)
    rendered = render(repository.read(tree), "dev", placeholder="placeholder.invalid")

    files = manifest_files([rendered], bound(released=False))

    assert sorted(files) == ["dev/deployment.apps.shop.shop.yaml", "dev/service.shop.shop.yaml"]
    assert files["dev/service.shop.shop.yaml"].startswith(b'{"apiVersion":"v1"')
    empty = example.environment_tree({layout.values("dev", "shop"): None}, released=False)
    with pytest.raises(InputError, match="shop renders nothing in dev"):
        manifest_files([render(repository.read(empty), "dev", placeholder="x.invalid")], bound(released=False))


def test_another_release_leaves_manifests_alike() -> None:
    """What a release says of image and commit is the only difference that a scan need not look at."""

    def alike(tree: Tree) -> dict[str, bytes]:
        read = repository.read(tree)
        given = bound(released=True)
        files = manifest_files([render(read, "dev", placeholder="placeholder.invalid")], given)
        return without_releases(files, read, given, placeholder="placeholder.invalid")

    before = alike(example.environment_tree())
    newer = dict(example.release_files(image=IMAGE, source_commit=COMMIT))

    assert alike(example.environment_tree(released=False)) == before
    assert alike(example.environment_tree(newer, released=False)) == before
    assert alike(example.environment_tree({layout.values("dev", "shop"): "replicas: 3\n"})) != before
    assert b"\0image" in before["dev/deployment.apps.shop.shop.yaml"]
    assert b"\0" not in canonical({"no manifest": "can say \0image itself"})


def test_no_manifest_takes_the_place_of_another() -> None:
    """Two kinds of one name in two groups are two files, so that a decoy keeps nothing from being scanned."""
    decoys = "".join(
        f"---\napiVersion: {group}/v1\nkind: Deployment\nmetadata: {{name: shop}}\n"
        for group in ("apps.example.org", "apps.example.com")
    )
    tree = example.environment_tree({f"{layout.manifests('dev', 'shop')}/decoys.yaml": decoys}, released=False)
    rendered = render(repository.read(tree), "dev", placeholder="placeholder.invalid")

    files = manifest_files([rendered], bound(released=False))

    assert set(files.values()) == {manifest.canonical for manifest in rendered.manifests}
    assert len(files) == 4


def test_a_scan_of_manifests_is_cut_to_its_environment() -> None:
    """One environment's finding does not block another."""
    finding = Finding("misconfiguration", "KSV-1", "HIGH", "dev/a.yaml", "t")
    scan = Scan("manifests", findings=(finding,))

    assert of_environment(scan, "dev").findings == (finding,)
    assert of_environment(scan, "prod").findings == ()
    assert of_environment(Scan("source", findings=(finding,)), "prod").findings == (finding,)


def test_the_build_key_follows_what_the_image_is_made_of() -> None:
    """Same inputs, component and recipe, same tag, whatever the commit and the tests; each other one another."""
    tests = Tests(command=("pytest",))
    component = Component(tests=tests)
    key = build_key(repository="shop", component="web", recipe=component, inputs="a")

    assert key == "il-" + key[3:].lower()
    assert len(key) == 35
    retested = Component(tests=Tests(command=("other",)))
    assert key == build_key(repository="shop", component="web", recipe=retested, inputs="a")
    assert key_of_tests(component) != key_of_tests(retested)
    others = {
        build_key(repository="shop2", component="web", recipe=component, inputs="a"),
        build_key(repository="shop", component="web", recipe=component, inputs="b"),
        build_key(repository="shop", component="api", recipe=component, inputs="a"),
        build_key(
            repository="shop", component="web", recipe=Component(dockerfile="b/Dockerfile", tests=tests), inputs="a"
        ),
        build_key(repository="shop", component="web", recipe=Component(target="web", tests=tests), inputs="a"),
        build_key(repository="shop", component="web", recipe=Component(arguments={"A": "1"}, tests=tests), inputs="a"),
    }
    assert key not in others
    assert len(others) == 6


def test_inputs_are_all_that_a_build_reads() -> None:
    """A name, a byte, a mode, a base or the Dockerfile makes others; a name that is no text is one too."""
    base = Base("python:3", "sha256:1")
    contents = {"a": Content("sha256:1", "file"), "b\udcff": Content("sha256:2", "file")}
    inputs = inputs_digest(contents, "FROM python:3", [base])

    assert inputs == inputs_digest(dict(reversed(contents.items())), "FROM python:3", [base])
    others = {
        inputs_digest({**contents, "a": Content("sha256:3", "file")}, "FROM python:3", [base]),
        inputs_digest({**contents, "a": Content("sha256:1", "program")}, "FROM python:3", [base]),
        inputs_digest({**contents, "c": Content("sha256:1", "file")}, "FROM python:3", [base]),
        inputs_digest(contents, "FROM python:3\nUSER 1", [base]),
        inputs_digest(contents, "FROM python:3", [Base("python:3", "sha256:2")]),
    }
    assert inputs not in others
    assert len(others) == 5
