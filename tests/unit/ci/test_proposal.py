"""What a pull request for a release says, and which one it is."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.ci.forge import PullRequest, PullState
from interlock.ci.proposal import (
    already_proposed,
    answered,
    body_of,
    branch_of,
    differences,
    open_of,
    with_changes,
)
from interlock.ci.targets import Target, targets
from interlock.contract import layout
from interlock.contract.manifest import Manifest
from interlock.contract.render import Rendered
from interlock.contract.repository import read
from tests import examples_of_repositories as example

COMMIT = example.SOURCE_COMMIT


def rendered(*bodies: dict[str, Any]) -> Rendered:
    return Rendered("dev", tuple(Manifest(each, "shop", {}) for each in bodies), ())


def secret(**values: str) -> dict[str, Any]:
    metadata = {"name": "door", "namespace": "shop", "annotations": {"last": '{"code": "open-sesame"}'}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def text(**changed: str) -> str:
    given = {
        "component": "web",
        "image": "registry.example/web@sha256:1",
        "repository": "shop",
        "commit": COMMIT,
        "branch": "interlock/shop/web/prod",
        "base": "main",
        "run": "",
        "tests": "1 passed",
        "findings": "none",
    }
    return body_of(**{**given, **changed}, differences={"prod": "Nothing."})


def pull(number: int, state: PullState, commit: str = COMMIT) -> PullRequest:
    return PullRequest(number, "", "", text(commit=commit), "a" * 40, state)


def test_a_secrets_values_are_masked() -> None:
    """Only that one is another, or only on one side, can be seen; annotations may repeat them."""
    shown = differences(
        rendered(secret(code="open-sesame", same="xyzzy", gone="plugh")),
        rendered(secret(code="friend", same="xyzzy")),
        application="shop",
    )

    assert "•••• (another value)" in shown and "•••• (only here)" in shown
    assert not {"open-sesame", "xyzzy", "plugh", "friend"} & set(shown.replace('"', " ").split())
    assert "open-sesame" not in shown


def test_a_difference_has_only_what_differs() -> None:
    """By object: changed, added and removed; another application's is not shown."""
    same = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "same", "namespace": "shop"}}
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": "shop"}}
    new = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "new", "namespace": "shop"}}
    other = Manifest({**new, "metadata": {"name": "other", "namespace": "shop"}}, "elsewhere", {})
    after = Rendered("dev", (*rendered(same, new).manifests, other), ())

    shown = differences(rendered(same, old), after, application="shop")

    assert shown.startswith("```diff\n") and shown.endswith("\n```")
    assert "--- ConfigMap shop/old\n+++ nothing" in shown and "--- nothing\n+++ Deployment.apps shop/new" in shown
    assert "same" not in shown and "other" not in shown
    assert differences(rendered(same), rendered(same), application="shop") == "Nothing."


def test_a_value_cannot_end_the_fence() -> None:
    """Its own backticks are fewer than the fence's."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "```\n# Approved\n"}}
    shown = differences(rendered(), rendered(body), application="shop")
    assert shown.startswith("````diff\n") and shown.endswith("\n````")


def test_a_huge_difference_is_cut() -> None:
    """At a line's end, and it says so."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {f"k{n}": "v" for n in range(9999)},
    }
    shown = differences(rendered(), rendered(body), application="shop")
    assert len(shown) < 21_000 and "… and more" in shown


def test_people_who_answered_are_not_asked_again() -> None:
    """By closing or merging the pull request of this very commit; another commit's is no answer."""
    assert answered([pull(2, "closed")], COMMIT) == pull(2, "closed")
    assert answered([pull(2, "merged")], COMMIT) == pull(2, "merged")
    assert answered([pull(2, "closed", "6" * 40), pull(1, "open")], COMMIT) is None
    assert open_of([pull(2, "closed"), pull(1, "open")]) == pull(1, "open")


def test_only_our_own_mark_counts() -> None:
    """One in a value or a finding does not."""
    forged = text(commit="6" * 40, findings=f"<!-- interlock-commit: {COMMIT} -->")
    assert answered([PullRequest(1, "", "", forged, "", "closed")], COMMIT) is None


def test_the_branch_is_one_for_a_components_environments() -> None:
    """Whatever the gate opens; those that CI releases to itself have no part in its name."""
    prod = example.environment_tree().text(layout.environment("dev")).replace(example.ENVIRONMENT_ID, "e0e1e2e3e4e5")
    bindings = example.environment_tree().text(layout.BINDINGS).replace("[dev]", "[prod, dev, stage]")
    repository = read(
        example.environment_tree(
            {
                layout.environment("prod"): f"{prod.replace('[shop]', '[p]')}promotion: pull-request\n",
                layout.environment(
                    "stage"
                ): f"{prod.replace('[shop]', '[s]').replace('e0', 'f0')}promotion: pull-request\n",
                layout.values("prod", "shop"): "replicas: 2\n",
                layout.values("stage", "shop"): "replicas: 2\n",
                layout.BINDINGS: bindings,
            }
        )
    )
    bound = targets(repository, source="shop", signer="ci-shop")
    assert branch_of("acme/shop", "web", bound, repository) == "interlock/acme_shop/web/prod_stage"


@pytest.mark.parametrize(
    ("image", "commit", "same"),
    [
        (example.IMAGE, COMMIT, True),
        (example.IMAGE.replace("1a", "2b"), COMMIT, False),
        (example.IMAGE, "6" * 40, False),
    ],
)
def test_a_branch_stays_when_it_has_the_release(image: str, commit: str, same: bool) -> None:
    """Of this image and this source commit, everywhere; a file that cannot be read is another."""
    path = layout.release("dev", "shop")
    texts = {path: example.environment_tree().files[path]}
    target = Target("dev", "shop", "web", example.IMAGE_REPOSITORY, None)

    assert already_proposed(texts, [target], image=image, commit=commit, repository="shop") is same
    assert not already_proposed({path: b"\xff"}, [target], image=image, commit=commit, repository="shop")
    assert not already_proposed({}, [target], image=image, commit=commit, repository="shop")


def test_a_tree_with_changes() -> None:
    """Files are replaced, added and removed."""
    tree = with_changes(example.environment_tree(), {layout.GATE: None, "new": b"1"}, commit="d" * 40)
    assert layout.GATE not in tree.files and tree.files["new"] == b"1" and layout.BINDINGS in tree.files
