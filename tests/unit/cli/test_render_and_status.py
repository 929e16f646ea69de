"""`interlock render` and `status` from a plain clone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.contract import evidence, layout, strict_yaml
from tests.examples_of_repositories import IMAGE, environment_tree
from tests.unit.cli.commands import git, interlock


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose only commit has a release of shop's web in dev."""
    folder = tmp_path / "environments"
    folder.mkdir()
    git("init", "--quiet", "--initial-branch=main", folder=folder)
    for path, data in environment_tree().files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    git("add", "--all", folder=folder)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "All", folder=folder)
    return folder


def test_render_prints_the_manifests_alone(clone: Path) -> None:
    """stdout is YAML that can be piped; what is said about it goes to stderr."""
    done = interlock("render", "dev", folder=clone)

    assert done.returncode == 0, done.stderr
    bodies = [document.value for document in strict_yaml.load_all(done.stdout, path="stdout")]
    assert {body["kind"] for body in bodies if isinstance(body, dict)} >= {"Deployment", "Service"}
    assert IMAGE in done.stdout
    assert "signatures not verified" in done.stderr


def test_render_reads_the_files_as_they_lie_or_a_commit(clone: Path) -> None:
    """An edit shows at once, and --commit shows what is committed."""
    (clone / "environments" / "dev" / "shop" / "values.yaml").write_text("replicas: 7\n")
    now = json.loads(interlock("render", "dev", "-o", "json", folder=clone).stdout)
    then = json.loads(interlock("render", "dev", "-o", "json", "--commit", "HEAD", folder=clone).stdout)

    (edited,) = [body for body in now if body["kind"] == "Deployment"]
    (committed,) = [body for body in then if body["kind"] == "Deployment"]
    assert edited["spec"]["replicas"] == 7
    assert committed["spec"]["replicas"] != 7


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("environments/dev/shop/values.yaml", "replicas: 1\nreplicas: 2\n", "environments/dev/shop/values.yaml:2:1:"),
        ("policy/gate.yaml", "format: 1\nrules: {}\nextra: 1\n", "policy/gate.yaml:3"),
        ("trust/bindings.yaml", "format: 1\nbindings: &a []\n", "trust/bindings.yaml:2"),
        ("templates/service/broken.yaml.j2", "a: {{ values.nothing }}\n", "templates/service/broken.yaml.j2:1"),
        ("environments/dev/shop/stray.txt", "", "environments/dev/shop/stray.txt"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(clone: Path, path: str, text: str, message: str) -> None:
    """File and line, exit code 2, nothing on stdout."""
    (clone / path).write_text(text)
    done = interlock("render", "dev", folder=clone)

    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stdout == ""


def test_a_symlink_in_the_clone_is_refused(clone: Path) -> None:
    """A file of somebody's machine never gets into what is rendered."""
    (clone / "applications" / "shop" / "values.yaml").unlink()
    (clone / "applications" / "shop" / "values.yaml").symlink_to("/etc/hostname")
    done = interlock("render", "dev", folder=clone)

    assert done.returncode == 2
    assert "applications/shop/values.yaml: a symlink" in done.stderr
    git("add", "--all", folder=clone)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "Link", folder=clone)
    assert "a symlink" in interlock("render", "dev", "--commit", "HEAD", folder=clone).stderr


def test_status_of_a_clone_names_releases(clone: Path) -> None:
    """What git says: image and source commit of each component, as a table and as JSON."""
    table = interlock("status", folder=clone)
    told = json.loads(interlock("status", "dev", "--output", "json", folder=clone).stdout)

    assert table.returncode == 0, table.stderr
    assert "the cluster was not asked" in table.stdout
    (release,) = [each for each in told["releases"] if each["component"] == "web"]
    assert (release["environment"], release["application"], release["image"]) == ("dev", "shop", IMAGE)


def test_status_tells_what_is_no_longer_clean(clone: Path) -> None:
    """By the last rescan that the repository has, with what blocks it and what to do."""
    verdict = evidence.gate_verdict(
        IMAGE, environment="dev", passed=False, policy_commit="c" * 40, findings=(), blocking=("CVE-1@p",)
    )
    proof = evidence.envelope([verdict])
    (clone / layout.rescan("dev", "shop", "web", IMAGE.partition("@")[2])).write_bytes(proof)
    git("add", "--all", folder=clone)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "Mark", folder=clone)

    table = interlock("status", folder=clone)
    told = json.loads(interlock("status", "--output", "json", folder=clone).stdout)

    assert "shop/web in dev is no longer clean: CVE-1@p" in table.stdout
    assert "to do: release a mended version" in table.stdout
    (release,) = [each for each in told["releases"] if each["component"] == "web"]
    assert release["unclean"] == ["CVE-1@p"]


def test_an_unknown_environment_is_named(clone: Path) -> None:
    """The error says which there are."""
    for command in ("render", "status"):
        done = interlock(command, "prod", folder=clone)
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            2,
            "error: environment prod: there is none of that name",
        )
        assert "there are: dev" in done.stderr


def test_render_holds_manifests_against_schemas_and_rules(clone: Path) -> None:
    """A typo in a template fails with field, line and what was meant; the manifests are printed all the same."""
    template = clone / "templates" / "service" / "deployment.yaml.j2"
    text = template.read_text()
    template.write_text(text.replace("revisionHistoryLimit: 3", "revisionHistoryLimitt: 3"))
    done = interlock("render", "dev", folder=clone)

    assert done.returncode == 1
    assert "revisionHistoryLimitt: unknown field (did you mean revisionHistoryLimit?)" in done.stderr
    line = text.splitlines().index("  revisionHistoryLimit: 3") + 1
    assert f"templates/service/deployment.yaml.j2:{line}" in done.stderr
    assert "kind: Deployment" in done.stdout


def test_render_says_what_only_warns(clone: Path) -> None:
    """A rule that warns is a line on stderr and no failure."""
    (clone / "policy" / "rules.yaml").write_text(
        "format: 1\nrules:\n  - {name: two, match: {kinds: [Deployment]}, expression: object.spec.replicas > 9,\n"
        "     severity: warn, message: too few}\n"
    )
    done = interlock("render", "dev", folder=clone)

    assert done.returncode == 0, done.stderr
    assert "warning: Deployment/shop/shop: two: too few at templates/service/deployment.yaml.j2:" in done.stderr


def test_check_looks_at_every_environment(clone: Path) -> None:
    """It prints no manifest; what is wrong with one does not hide what is wrong with the other."""
    fine = interlock("render", "--check", folder=clone)
    stage = clone / "environments" / "stage"
    (stage / "shop").mkdir(parents=True)
    (stage / "environment.yaml").write_text("format: 1\nid: a1d1d2d3d4d5\ncluster: sandbox\nnamespaces: [stage]\n")
    (stage / "shop" / "values.yaml").write_text("resources: {requests: {cpu: 1}}\n")
    (clone / "environments" / "dev" / "shop" / "values.yaml").write_text("env: [1]\n")
    bindings = clone / "trust" / "bindings.yaml"
    bindings.write_text(bindings.read_text().replace("[dev]", "[dev, stage]"))
    wrong = interlock("render", "--check", folder=clone)
    one = interlock("render", "stage", "--check", folder=clone)

    assert (fine.returncode, fine.stdout) == (0, "dev: 2 objects, as schemas and rules want them\n"), fine.stderr
    assert wrong.returncode != 0
    assert wrong.stdout == ""
    assert "templates/service/deployment.yaml.j2" in wrong.stderr
    assert "stage: 1 problem in its manifests" in wrong.stderr
    assert one.returncode == 1
    assert "Deployment/stage/shop: requests: " in one.stderr
