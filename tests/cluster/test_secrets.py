"""Sealed values in a real cluster: a Secret has them, and nothing that a run leaves behind."""

from __future__ import annotations

import base64
import logging
import subprocess
from pathlib import Path

import pytest
import yaml

from interlock.contract import layout
from interlock.contract.doctor import Check
from interlock.contract.secret_text import forms as secret_forms
from interlock.errors import HostConfigError, Refused, RenderError
from tasks.cd import doctor
from tests.canaries import found_in_git, standing_in, watched_processes
from tests.cluster.sealing import SECRET, Sealing, begin, configure, forms, left_behind
from tests.cluster.worlds import Recorder, World
from tests.sealing import identity, seal

FIRST, SECOND = "canary-hunter2-öß", "canary-s3same"


@pytest.fixture
def sealing(world: World, tmp_path: Path) -> Sealing:
    return begin(world, tmp_path)


async def test_a_secret_gets_what_was_sealed_and_nothing_else_has_it(sealing: Sealing) -> None:
    """Whole, and within a text; the plan says that it changed and not what; the same again is in sync."""
    world, presenter = sealing.world, Recorder()
    sealing.seal({"password": FIRST})

    result = await world.deploy(presenter)

    assert result.said == "deployed"
    assert (sealing.password(), sealing.password(key="url")) == (FIRST, f"postgres://ada:{FIRST}@db/shop")
    assert (await world.deploy(presenter)).said == "in sync"
    sealing.seal({"password": SECOND})
    plan = await world.plan(presenter)
    (item,) = plan.writes
    assert {field.path for field in item.fields} == {"data.password", "data.url"}
    assert all(field.masked for field in item.fields)
    assert {(each.name, each.path) for field in item.fields for each in field.values} >= {
        ("secrets.password", layout.secrets("dev", "shop"))
    }
    await world.deploy(presenter)
    assert sealing.password() == SECOND
    words = (*forms(FIRST), *forms(SECOND), *forms(sealing.key.read_text().splitlines()[1]))
    assert left_behind(world, presenter, *words) == []


async def test_no_canary_is_in_arguments_environments_objects_or_logs(
    sealing: Sealing, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a deploy, of one that is refused, and of what undoes drift: keys and values are nowhere but in memory."""
    world, presenter = sealing.world, Recorder()
    signing = world.host.signing.key.read_text().splitlines()
    kubeconfig = yaml.safe_load(world.host.clusters["sandbox"].kubeconfig.read_text())
    client_key = base64.b64decode(kubeconfig["users"][0]["user"]["client-key-data"]).decode()
    canaries = {
        "a sealed value": FIRST,
        "a refused value": SECOND,
        "the age identity": sealing.key.read_text().splitlines()[1],
        "CD's signing key": signing[len(signing) // 2],
        "CD's key at the API server": client_key.splitlines()[2],
    }
    with watched_processes(canaries) as seen, caplog.at_level(logging.DEBUG):
        sealing.seal({"password": FIRST})
        await world.deploy(presenter)
        world.merge(world.path("secrets", "database"), {"stringData": {"password": SECOND}})
        await world.resync(presenter)
        broken = seal({"password": SECOND, "other": FIRST}, sealing.recipient, to=sealing.place)
        broken = "".join(line for line in broken.splitlines(keepends=True) if not line.startswith("  other:"))
        world.push({layout.secrets("dev", "shop"): broken})
        with pytest.raises(Refused):
            await world.deploy(presenter)

    mirrors = [each.parent for each in world.host.state.rglob("HEAD") if (each.parent / "objects").is_dir()]
    repositories = (*mirrors, world.repository.bare, world.ledger.bare)
    assert sealing.password() == FIRST
    assert sorted(seen) == []
    assert len(mirrors) >= 2 and found_in_git(repositories, canaries) == []
    assert list(standing_in(caplog.text.encode(), canaries)) == []
    assert left_behind(world, presenter, *(form for text in canaries.values() for form in secret_forms(text))) == []


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """A canary in arguments, in an environment, and in an object of git: what is searched above could be found."""
    canaries = {"planted": "canary-planted-here"}
    encoded = base64.b64encode(b"ada:canary-planted-here").decode()
    for arguments, environment in ((("3", encoded), {}), (("3",), {"PLANTED": encoded})):
        with watched_processes(canaries) as seen:
            subprocess.run(("sh", "-c", 'sleep "$0"', *arguments), env=environment, check=True)
        assert seen == {"planted in environ" if environment else "planted in cmdline"}
    subprocess.run(("git", "init", "--quiet", "--bare", str(tmp_path)), check=True)
    (tmp_path / "file").write_text(encoded)
    subprocess.run(("git", f"--git-dir={tmp_path}", "hash-object", "-w", str(tmp_path / "file")), check=True)
    assert found_in_git([tmp_path], canaries) == [f"planted in {tmp_path}"]


async def test_what_is_sealed_anew_changes_nothing(sealing: Sealing) -> None:
    """Rotation writes another ciphertext of the same values: the cluster has them already."""
    sealing.seal({"password": FIRST})
    await sealing.world.deploy()
    before = sealing.world.get("Secret", "database")
    sealing.seal({"password": FIRST})

    result = await sealing.world.deploy()

    assert result.said == "in sync"
    assert sealing.world.get("Secret", "database") == before


async def test_a_secret_that_rolls_is_named_by_what_is_in_it(sealing: Sealing) -> None:
    """By a digest with the host's key over the values: sealed anew it keeps its name, changed it gets another."""
    world = sealing.world
    rolling = SECRET.replace("  name: database\n", '  name: database\n  annotations: {interlock.dev/roll: "true"}\n')

    async def deployed(password: str) -> set[str]:
        sealing.seal({"password": password}, **{"templates/vault/secret.yaml.j2": rolling})
        await world.deploy()
        found = world.admin.list(world.admin.resource("v1", "Secret"), world.namespace)
        return {each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("database")}

    first = await deployed(FIRST)
    assert await deployed(FIRST) == first
    assert await deployed(SECOND) not in (first, set())


async def test_drift_in_a_sealed_value_is_undone(sealing: Sealing) -> None:
    """Somebody's other password is put back, and neither is told."""
    sealing.seal({"password": FIRST})
    await sealing.world.deploy()
    path = sealing.world.path("secrets", "database")
    sealing.world.merge(path, {"stringData": {"password": SECOND}})
    presenter = Recorder()

    await sealing.world.resync(presenter)

    assert sealing.password() == FIRST
    assert left_behind(sealing.world, presenter, *forms(FIRST), *forms(SECOND)) == []


@pytest.mark.parametrize("case", ["none", "missing", "open", "another"])
async def test_a_missing_key_is_one_clear_error(sealing: Sealing, tmp_path: Path, case: str) -> None:
    """It names the recipients, and where the key is looked for; nothing is written."""
    other = tmp_path / "other.key"
    if case in {"open", "another"}:
        other.write_text(identity()[0])
        other.chmod(0o644 if case == "open" else 0o600)
    configure(sealing.world, None if case == "none" else other)
    sealing.seal({"password": FIRST})

    with pytest.raises(HostConfigError) as caught:
        await sealing.world.deploy()

    said = str(caught.value)
    assert ("age_identity" if case == "none" else str(other)) in said
    assert case in {"missing", "open"} or sealing.recipient in said
    assert "AGE-SECRET-KEY" not in said
    assert sealing.password() is None


async def test_doctor_looks_at_the_key(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose it is, for trust/recipients.yaml; and that nobody else may read it."""
    monkeypatch.setenv("INTERLOCK_CONFIG", str(sealing.world.config))

    def looked() -> Check:
        return next(each for each in doctor.checks() if each.name == "age identity of dev")

    assert looked().well and sealing.recipient in looked().said
    sealing.key.chmod(0o640)
    assert not looked().well and "chmod 0600" in looked().fix


async def test_what_was_changed_since_it_was_sealed_is_refused(sealing: Sealing) -> None:
    """Commit and signature are fine, the MAC is not: nothing is written, and the ledger has the refusal."""
    sealing.seal({"password": FIRST})
    await sealing.world.deploy()
    sealed = seal({"password": SECOND, "other": FIRST}, sealing.recipient, to=sealing.place)
    without = "".join(line for line in sealed.splitlines(keepends=True) if not line.startswith("  other:"))
    sealing.world.push({layout.secrets("dev", "shop"): without})

    with pytest.raises(Refused, match="added, removed or moved"):
        await sealing.world.deploy()

    assert sealing.password() == FIRST
    assert sealing.world.receipts()[-1] == ("refusal", "sealed")


async def test_a_placeholder_that_was_copied_from_another_application_is_refused(sealing: Sealing) -> None:
    """Its text says which value is meant; nobody but an expression over the application's own secrets may write it."""
    sealing.seal({"password": FIRST})
    copied = SECRET.replace("{{ secrets.password }}@", "⟦sealed password " + "0" * 32 + "⟧@")
    sealing.world.push({"templates/vault/secret.yaml.j2": copied})
    with pytest.raises(
        RenderError, match=r"secret.yaml.j2:8: the text has ⟦, which begins the placeholder of a sealed value"
    ):
        await sealing.world.deploy()
    assert sealing.password() is None
