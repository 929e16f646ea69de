"""An environment repository is read as a whole, or refused with file, line and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from interlock.contract import layout, repository
from interlock.contract.tree import Tree
from interlock.errors import FormatError
from tests.examples_of_repositories import (
    COMPONENT,
    ENVIRONMENT_ID,
    IMAGE,
    IMAGE_REPOSITORY,
    MACHINE_KEY,
    PERSON_KEY,
    environment_tree,
    release_files,
)

RELEASE = "environments/dev/shop/release.yaml"
EVIDENCE = "environments/dev/shop/evidence/web-1a1a1a1a1a1a.json"
SECOND = f"format: 1\nid: {'e' * 12}\ncluster: sandbox\nnamespaces: [shop-two]\n"


def edited(path: str, old: str, new: str) -> dict[str, str | bytes | None]:
    """A change of one file of the example: one text replaced by another."""
    text = environment_tree().text(path)
    assert old in text
    return {path: text.replace(old, new)}


def _settings(*lines: str) -> dict[str, str | bytes | None]:
    """The environment's file with more lines."""
    path = layout.environment("dev")
    return {path: "\n".join((environment_tree().text(path).rstrip(), *lines, ""))}


def test_the_example_is_read() -> None:
    """Every part of the repository is there, with values merged and names resolved."""
    found = repository.read(environment_tree())
    dev = found.environments["dev"]
    shop = dev.applications["shop"]
    assert (found.commit, dev.id, dev.namespaces, dev.drift, dev.health_seconds) == (
        "c" * 40,
        ENVIRONMENT_ID,
        ("shop",),
        "undo",
        300,
    )
    assert [each.name for each in found.signers] == ["ada", "ci-shop"]
    assert shop.values == {"port": 8080, "health": "/healthz", "env": {"GREETING": "hello"}, "replicas": 2}
    assert shop.release is not None
    assert shop.release.components[COMPONENT].image == IMAGE
    assert (shop.template, shop.components, shop.awaiting) == ("service", ("web",), ())


def test_an_application_awaits_its_first_release() -> None:
    """A bound component without an entry is awaited, whether the file is missing or empty."""
    for changes in ({}, {RELEASE: "format: 1\n"}):
        shop = repository.read(environment_tree(changes, released=False)).environments["dev"].applications["shop"]
        assert shop.awaiting == ("web",)


def test_plain_manifests_need_no_template() -> None:
    """An application of plain manifests has no template and awaits nothing."""
    path = "environments/dev/extra/manifests/config.yaml"
    extra = repository.read(environment_tree({path: "a: 1\n"})).environments["dev"].applications["extra"]
    assert (extra.template, dict(extra.manifests), extra.awaiting, extra.release) == (None, {path: "a: 1\n"}, (), None)


def test_an_environment_without_applications_is_one() -> None:
    """An environment is its own file; applications come later."""
    found = repository.read(environment_tree({layout.environment("prod"): SECOND}))
    assert dict(found.environments["prod"].applications) == {}


def test_what_a_removed_environment_had_may_be_anothers_at_once() -> None:
    """The tombstone keeps its namespaces to empty them, and another environment has them already."""
    gone = f"format: 1\nid: {'d' * 12}\ncluster: sandbox\nnamespaces: [shop-two]\nstate: removed\n"
    files: dict[str, str | bytes | None] = {layout.environment("prod"): SECOND, layout.environment("old"): gone}
    found = repository.read(environment_tree(files))
    assert (found.environments["old"].removed, found.environments["prod"].removed) == (True, False)


def test_mappings_merge_and_all_else_replaces() -> None:
    """The environment's values win; lists, texts and nothing replace as a whole."""
    base = {"a": {"b": 1, "c": {"d": 1}}, "l": [1, 2], "m": {"x": 1}, "t": "text"}
    over = {"a": {"c": {"e": 2}}, "l": [3], "m": None, "t": {"y": 1}}
    expected = {"a": {"b": 1, "c": {"d": 1, "e": 2}}, "l": [3], "m": None, "t": {"y": 1}}
    assert repository.merge(base, over) == expected


def _health(*expressions: str, group: str = "example.org") -> str:
    entries = [
        f"  - name: r{n}\n    group: {json.dumps(group)}\n    kind: Widget\n    healthy: {json.dumps(text)}\n"
        for n, text in enumerate(expressions)
    ]
    return "format: 1\nrules:\n" + "".join(entries)


def test_health_rules_are_read_and_compiled() -> None:
    """policy/health.yaml may be missing; what it says of a kind is found by group and kind."""
    assert repository.read(environment_tree()).health.rules == ()
    found = repository.read(environment_tree({layout.HEALTH: _health("object.status.ok", group="*.example.org")}))
    rule = found.health.of("a.example.org", "Widget")
    assert rule is not None
    assert rule.judge({"status": {"ok": True}}).state == "healthy"


def test_waivers_may_be_missing() -> None:
    """No waivers file means no waivers; without a gate there is no repository."""
    assert repository.read(environment_tree({layout.WAIVERS: None})).waivers == ()
    with pytest.raises(FormatError, match=r"policy/gate.yaml: the file is missing"):
        repository.read(environment_tree({layout.GATE: None}))


def test_applications_have_an_order() -> None:
    """Who waits for whom is read with the environment; who is not named waits for nobody."""
    plain = "environments/dev/{}/manifests/a.yaml"
    changes = {plain.format("db"): "a: 1\n", plain.format("cache"): "a: 1\n"}
    dev = repository.read(environment_tree(changes | ordered("shop: {after: [db, cache]}"))).environments["dev"]
    assert (dict(dev.after), dev.on_error) == ({"shop": ("db", "cache")}, "application")


def ordered(*entries: str) -> dict[str, str | bytes | None]:
    text = environment_tree().text(layout.environment("dev"))
    return {layout.environment("dev"): text + "order:\n" + "".join(f"  {entry}\n" for entry in entries)}


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        (("shop: {after: [web]}",), r"environment.yaml:\d:18: this environment has no application 'web'"),
        (("web: {after: [shop]}",), r"environment.yaml:\d:3: this environment has no application 'web'"),
        (("shop: {after: [shop]}",), r"environment.yaml:\d:3: applications wait for each other: shop → shop"),
        (
            ("shop: {after: [a]}", "a: {after: [b]}", "b: {after: [shop]}"),
            r"environment.yaml:\d+:3: applications wait for each other: a → b → shop → a",
        ),
        (("shop: {after: []}",), "after: needs at least 1"),
        (("shop: {after: [a], before: [b]}",), "unknown field 'before'"),
    ],
)
def test_an_order_that_cannot_be_is_refused(entries: tuple[str, ...], complaint: str) -> None:
    """A name that is no application here and a circle are shown with file and line, the circle as a whole."""
    others: dict[str, str | bytes | None] = {f"environments/dev/{name}/manifests/x.yaml": "a: 1\n" for name in "ab"}
    with pytest.raises(FormatError, match=complaint):
        repository.read(environment_tree(others | ordered(*entries)))


BINDING = f"""\
  - {{source: fork, component: web, application: shop, environments: [dev], image: {IMAGE_REPOSITORY}, signer: ada}}
"""
WAIVER = "  - {finding: CVE-1, component: api, reason: some reason, owner: ada, ends: 2030-01-01}\n"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({layout.ENVIRONMENTS: None}, "environments.yaml: the file is missing: this is no environment repository"),
        (
            {layout.ENVIRONMENTS: "format: 1\nid: a0b1c2d3e4f5\nextra: 1\n"},
            "environments.yaml:3:1: unknown field 'extra'",
        ),
        ({layout.ENVIRONMENTS: b"\xff"}, "environments.yaml: not UTF-8 at byte 0"),
        ({layout.SIGNERS: None}, "trust/signers.yaml: the file is missing"),
        ({layout.SIGNERS: "format: 1\nsigners: []\n"}, "trust/signers.yaml:2:1: signers: needs at least 1"),
        (edited(layout.SIGNERS, "name: ci-shop", "name: ada"), "signers.yaml:7:5: the name ada belongs to another"),
        (edited(layout.SIGNERS, MACHINE_KEY, PERSON_KEY + " x"), "signers.yaml:8:5: the key ssh-ed25519 AAAA"),
        (
            edited(layout.SIGNERS, MACHINE_KEY, "AAAA"),
            "signers.yaml:8:5: signers.1.key: 'AAAA' is not an SSH public key",
        ),
        (edited(layout.BINDINGS, "signer: ci-shop", "signer: bob"), "bindings.yaml:8:5: no signer is named 'bob'"),
        (edited(layout.BINDINGS, "[dev]", "[dev, prod]"), "bindings.yaml:6:25: there is no environment 'prod'"),
        (
            {layout.BINDINGS: environment_tree().text(layout.BINDINGS) + BINDING},
            "bindings.yaml:9:5: web of shop in dev is bound twice",
        ),
        ({layout.GATE: "format: 1\nenvironments:\n  prod: {}\n"}, "gate.yaml:3:3: there is no environment 'prod'"),
        (
            {layout.GATE: "format: 1\nrules:\n  grace_days:\n    HIHG: 3\n"},
            "policy/gate.yaml:4:5: rules.grace_days.HIHG: 'HIHG' is not 'UNKNOWN', 'LOW'",
        ),
        (
            {layout.GATE: "format: 1\nrules:\n  grace_days: 14\n"},
            "policy/gate.yaml:3:3: rules.grace_days must be a mapping, not 14",
        ),
        (
            {layout.WAIVERS: f"format: 1\nwaivers:\n{WAIVER.replace('2030-01-01', '31.12.2030')}"},
            "policy/waivers.yaml:3:71: waivers.0.ends: '31.12.2030' is not a day such as 2030-12-31",
        ),
        (
            {layout.WAIVERS: f"format: 1\nwaivers:\n{WAIVER.replace('2030-01-01', '20301231')}"},
            "policy/waivers.yaml:3:71: waivers.0.ends: 20301231 is not a day such as 2030-12-31",
        ),
        (
            {layout.WAIVERS: f"format: 1\nwaivers:\n{WAIVER.replace('2030-01-01', '2030-02-30')}"},
            "policy/waivers.yaml:3:71: waivers.0.ends must be a day such as 2030-12-31, not '2030-02-30'",
        ),
        ({layout.GATE: "format: 1\nformat: 1\n"}, "policy/gate.yaml:2:1: the key 'format' stands here and in line 1"),
        ({layout.GATE: "format: &a 1\n"}, "policy/gate.yaml:1:9: anchors and aliases are not allowed"),
        ({layout.WAIVERS: f"format: 1\nwaivers:\n{WAIVER}"}, "waivers.yaml:3:22: no component is named 'api'"),
        ({layout.HEALTH: _health("object.status.")}, "health.yaml:6:5: healthy is no CEL: 1:15: Syntax error"),
        ({layout.HEALTH: _health("objekt.status")}, "health.yaml:6:5: healthy is no CEL: 1:7: undeclared reference to"),
        ({layout.HEALTH: _health("1 + 1")}, "health.yaml:6:5: healthy gives INT, and must give BOOL"),
        ({layout.HEALTH: _health("a" * 5000)}, "healthy is no CEL: the expression has 5000 characters"),
        ({layout.HEALTH: _health("true", group="apps")}, "health.yaml:4:5: rules.0.group: 'apps' is not an API group"),
        ({layout.HEALTH: _health("true", group="storage.k8s.io")}, "health.yaml:4:5: storage.k8s.io is a built-in"),
        ({layout.HEALTH: _health("true", "true")}, "health.yaml:7:5: Widget of example.org has the rule r0 already"),
        ({layout.HEALTH: "format: 1\nrules: [{name: x}]\n"}, "health.yaml:2:9: the field 'group' is missing"),
        ({layout.environment("dev"): None}, "environments/dev/environment.yaml: the file is missing"),
        ({layout.environment("prod"): SECOND.replace("e" * 12, ENVIRONMENT_ID)}, "belongs to dev already"),
        (
            {layout.environment("prod"): SECOND.replace("-two", "")},
            "prod/environment.yaml: cluster sandbox, namespace shop belongs to dev already",
        ),
        ({layout.environment("Prod"): SECOND}, "environments/Prod/environment.yaml: a folder cannot be named 'Prod'"),
        ({"environments/dev/my_app/values.yaml": ""}, "my_app/values.yaml: a folder cannot be named 'my_app'"),
        ({"applications/a b/values.yaml": ""}, "applications/a b/values.yaml: a folder cannot be named 'a b'"),
        ({"environments/dev/a\n/values.yaml": ""}, "a folder cannot be named 'a\\n'"),
        ({"environments/notes.txt": ""}, "environments/notes.txt: format 1 knows no such file"),
        ({"environments/dev/notes.txt": ""}, "environments/dev/notes.txt: format 1 knows no such file"),
        (_settings("state: removed"), "environment.yaml:5:1: the environment is removed, and still has shop"),
        (
            _settings("prune: [{kind: Secret, name: s, uid: s, reason: not used any more}]"),
            "environment.yaml:5:33: prune.0.uid: 's' is not an object's UID, as the plan shows it",
        ),
        (_settings("protected: [secrets]"), "protected.0: 'secrets' is not a kind such as ConfigMap"),
        (_settings("budget: {deletes: -1}"), "environment.yaml:5:10: budget.deletes"),
        (_settings("allow: {changes: all, reason: not used any more}"), "'all' is not the mark of a plan's changes"),
        ({"environments/dev/shop/notes.txt": ""}, "environments/dev/shop/notes.txt: format 1 knows no such file"),
        ({"environments/dev/shop/manifests/a/b.yaml": ""}, "manifests/a/b.yaml: format 1 knows no such file"),
        ({"environments/dev/shop/evidence/web.json": ""}, "evidence/web.json: format 1 knows no such file"),
        ({"applications/shop/value.yaml": ""}, "applications/shop/value.yaml: format 1 knows no such file"),
        (
            {layout.application("shop"): None},
            "application.yaml: the file is missing, so nothing says how shop is rendered",
        ),
        (
            {layout.application("shop"): "format: 1\ntemplate: job\n"},
            "application.yaml:2:1: templates/job/ has no template",
        ),
        ({layout.shared_values("shop"): "- a\n"}, "applications/shop/values.yaml:1:1: must be a mapping"),
        ({layout.values("dev", "shop"): "a: yes\n"}, "environments/dev/shop/values.yaml:1:4: YAML readers disagree"),
        ({EVIDENCE: None}, f"release.yaml:3:3: the evidence {EVIDENCE} is missing"),
        ({EVIDENCE: "{}"}, f"{EVIDENCE}: not an evidence file"),
        (
            {EVIDENCE: release_files(source_commit="6" * 40)[EVIDENCE]},
            f"release.yaml:8:5: the evidence {EVIDENCE} has the digest sha256:",
        ),
        (
            edited(RELEASE, '"' + "5" * 40, '"' + "6" * 40),
            f"{EVIDENCE}: does not say once that web was built from shop",
        ),
        (
            edited(RELEASE, IMAGE, IMAGE[:-1] + "b"),
            f"{EVIDENCE}: is about {IMAGE}, but the release names",
        ),
        (
            edited(RELEASE, IMAGE_REPOSITORY, "registry.example/shop/other"),
            "release.yaml:4:5: the image is of registry.example/shop/other, but its binding gives",
        ),
        (
            edited(RELEASE, IMAGE, f"{IMAGE_REPOSITORY}:v1"),
            "release.yaml:4:5: components.web.image: 'registry.example/shop/web:v1' is not an image by digest",
        ),
        (
            edited(RELEASE, "repository: shop", "repository: fork"),
            "release.yaml:6:7: the source is fork, but its binding gives shop",
        ),
        (edited(RELEASE, "  web:", "  api:"), "release.yaml:3:3: api of shop is not bound to dev"),
        ({layout.BINDINGS: "format: 1\n"}, "release.yaml:3:3: web of shop is not bound to dev"),
    ],
)
def test_what_does_not_fit_is_refused(changes: Mapping[str, str | bytes | None], complaint: str) -> None:
    """One error, with path and, where there is one, the line."""
    with pytest.raises(FormatError, match=re.escape(complaint)):
        repository.read(environment_tree(changes))


def test_an_application_that_the_binding_does_not_give_is_refused() -> None:
    """A release in another application's folder is no release, even with the right image."""
    files = {path.replace("/shop/", "/other/"): content for path, content in release_files().items()}
    manifest = {"environments/dev/other/manifests/a.yaml": b""}
    with pytest.raises(FormatError, match=r"environments/dev/other/release.yaml:3:3: web of other is not bound to dev"):
        repository.read(environment_tree({**files, **manifest}))


def test_trust_is_read_without_the_rest() -> None:
    """Signers and bindings of a commit can be asked for while the rest of it is broken."""
    whole = environment_tree()
    trust = {path: content for path, content in whole.files.items() if path.startswith("trust/")}
    file, bindings = repository.read_trust(Tree.of(trust))
    assert [each.key for each in file.signers] == [PERSON_KEY, MACHINE_KEY]
    assert [each.component for each in bindings] == ["web"]
