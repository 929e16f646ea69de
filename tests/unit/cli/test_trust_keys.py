"""`interlock trust init|add|rotate|recover`: signed commits that hosts accept, or one error and nothing changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.contract import strict_yaml
from tests.unit.cli.commands import Done, git, interlock

SIGNERS = "trust/signers.yaml"
SHORT_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505 - too short is what it is for
SHORT = SHORT_RSA.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
VALUES = "environments/dev/shop/values.yaml"


def test_where_no_trust_is_the_way_to_begin_it_is_told(home: Path) -> None:
    """`add` and `rotate` in a repository without trust/signers.yaml name the command that makes it."""
    assert interlock("key", "bob.key", folder=home).returncode == 0
    git("init", "--quiet", "plain", folder=home)
    person = ("-c", "user.name=bob", "-c", "user.email=bob@example.org")
    git(*person, "commit", "--quiet", "--allow-empty", "--message", "x", folder=home / "plain")

    for word in ("add", "rotate"):
        ran = interlock("trust", word, "bob", "--key", "bob.key.pub", "--repository", "plain", folder=home)
        assert ran.returncode == 2
        assert "trust/signers.yaml is not there" in ran.stderr and "interlock trust init NAME --key FILE" in ran.stderr


@pytest.fixture
def clone(home: Path) -> Path:
    for name in ("bob", "new"):
        assert interlock("key", f"{name}.key", folder=home).returncode == 0
    return home / "environments"


def trust(clone: Path, *words: str | Path) -> Done:
    return interlock("trust", *words, "--repository", "environments", folder=clone.parent)


def done(clone: Path, *words: str | Path) -> str:
    """The new commit's id."""
    ran = trust(clone, *words, "--output", "json")
    assert ran.returncode == 0, ran.stderr
    commit = json.loads(ran.stdout)["commit"]
    assert commit == git("rev-parse", "HEAD", folder=clone).strip()
    assert git("status", "--porcelain", folder=clone) == ""
    return str(commit)


def refused(clone: Path, *words: str | Path) -> Done:
    """Nothing has changed; the error has one line and a hint."""
    before = git("rev-parse", "HEAD", folder=clone)
    ran = trust(clone, *words)
    assert ran.returncode in (2, 3, 4), ran.stdout + ran.stderr
    assert git("rev-parse", "HEAD", folder=clone) == before
    assert git("status", "--porcelain", folder=clone) == ""
    assert ran.stderr.startswith(("error:", "usage:", "Usage")) and "Traceback" not in ran.stderr
    return ran


def written(clone: Path) -> dict[str, list[dict[str, object]]]:
    text = (clone / SIGNERS).read_text()
    strict_yaml.load(text, path=SIGNERS)
    found: dict[str, list[dict[str, object]]] = yaml.safe_load(text)
    return found


def signer(clone: Path, name: str) -> dict[str, object]:
    return next(each for each in written(clone)["signers"] if each["name"] == name)


def commit(clone: Path, text: str, *options: str) -> str:
    (clone / VALUES).write_text(text)
    git("commit", "--quiet", "--all", "--message", "Change", *options, folder=clone)
    return git("rev-parse", "HEAD", folder=clone).strip()


def verify_all(clone: Path) -> None:
    """From the first commit to the newest, as a host that begins at the root pin does."""
    lines = git("rev-list", "--reverse", "HEAD", folder=clone).split()
    for each in lines[1:]:
        ran = interlock("trust", "explain", each, "--repository", "environments", folder=clone.parent)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_add_lets_a_person_sign_from_the_next_commit_on(clone: Path) -> None:
    """With what was asked for, and the comments at the file's top stay."""
    top = (clone / SIGNERS).read_text().splitlines()[0]
    done(clone, "add", "bob", "--key", "bob.key.pub", "--writes", "environments/dev/**", "--until", "2099-12-31")

    assert signer(clone, "bob")["writes"] == ["environments/dev/**"]
    assert str(signer(clone, "bob")["until"]) == "2099-12-31"
    assert (clone / SIGNERS).read_text().splitlines()[0] == top
    commit(clone, "replicas: 2\n", f"-S{clone.parent}/bob.key")
    verify_all(clone)


def test_add_gives_somebody_one_more_key(clone: Path) -> None:
    """And leaves what they may do as it is."""
    before = signer(clone, "ada")
    done(clone, "add", "ada", "--key", "new.key.pub")

    after = signer(clone, "ada")
    assert after["keys"] == [before["key"], (clone.parent / "new.key.pub").read_text().strip()]
    assert (after["writes"], after["approves"]) == (before["writes"], before["approves"])
    assert "sign" in refused(clone, "add", "ada", "--key", "bob.key.pub", "--approves").stderr


def test_rotate_ends_a_machines_key_in_one_commit(clone: Path) -> None:
    """The old key is believed up to the commit before, and no further."""
    before, old = git("rev-parse", "HEAD", folder=clone).strip(), signer(clone, "ci-shop")["key"]
    done(clone, "rotate", "ci-shop", "--key", "new.key.pub")

    assert written(clone)["ended"] == [{"name": "ci-shop", "key": old, "retired": before}]
    assert signer(clone, "ci-shop")["key"] == (clone.parent / "new.key.pub").read_text().strip()
    verify_all(clone)
    assert "ended" in refused(clone, "add", "bob", "--key", "ci.key.pub", "--writes", "**").stderr


def test_rotate_of_ones_own_key_takes_two_commits(clone: Path) -> None:
    """The first by the old key, the second by the new one; in one commit it is refused, and says so."""
    commit(clone, "replicas: 2\n")
    assert "its key" in refused(clone, "rotate", "ada", "--key", "new.key.pub").stderr
    ran = trust(clone, "rotate", "ada", "--key", "new.key.pub", "--signing-key", "new.key")
    assert ran.returncode == 0, ran.stderr
    assert f"next: git config user.signingkey {clone.parent}/new.key\n" in ran.stderr
    head = git("rev-parse", "HEAD", folder=clone).strip()

    assert written(clone)["ended"][0]["retired"] == git("rev-parse", f"{head}~1", folder=clone).strip()
    verify_all(clone)


def test_rotate_does_not_lock_what_waits_for_the_key(clone: Path) -> None:
    """The one approver's key ends only after the new one counted; a stolen one ends at once."""
    rule(clone, {"dev": {"required": 1, "approvers": ["bob"]}}, "bob.key.pub")
    ran = refused(clone, "rotate", "bob", "--key", "new.key.pub")
    assert "dev: too few approvers" in ran.stderr and "trust add bob" in ran.stderr

    stolen = git("rev-parse", "HEAD", folder=clone).strip()
    git("checkout", "-qb", "stolen", folder=clone)
    done(clone, "rotate", "bob", "--key", "new.key.pub", "--compromised", stolen)
    git("checkout", "-q", "main", folder=clone)

    old = str(signer(clone, "bob")["key"])
    done(clone, "add", "bob", "--key", "new.key.pub")
    done(clone, "rotate", "bob", "--old", " ".join(old.split()[:2]), "--key", "new.key.pub")


def rule(clone: Path, rules: dict[str, object], key: str) -> None:
    """bob approves, and environments wait for it."""
    done(clone, "add", "bob", "--key", key, "--writes", "environments/**", "--approves")
    (clone / SIGNERS).write_text((clone / SIGNERS).read_text() + yaml.safe_dump({"approvals": rules}))
    git("commit", "--quiet", "--all", "--message", "Ask bob", folder=clone)


def test_a_stolen_key_ends_where_it_was_sure(clone: Path) -> None:
    """With the commit that was named; later an approver believes it up to what was undone."""
    sure = git("rev-parse", "HEAD", folder=clone).strip()
    done(clone, "add", "bob", "--key", "bob.key.pub", "--writes", "environments/**")
    commit(clone, "replicas: 9\n", f"-S{clone.parent}/bob.key")
    done(clone, "rotate", "bob", "--key", "new.key.pub", "--compromised", sure[:12])
    assert written(clone)["ended"][0]["compromised"] == sure
    explained = interlock("trust", "explain", "HEAD~1", "--repository", "environments", folder=clone.parent)
    assert explained.returncode == 3 and "compromised" in explained.stdout

    undone = commit(clone, "replicas: 1\n")
    done(clone, "recover", "--compromised", "bob")
    assert written(clone)["ended"][0]["compromised"] == undone
    verify_all(clone)
    assert "no key of ada" in refused(clone, "recover", "--compromised", "ada").stderr


def test_recover_gets_past_refused_commits(clone: Path) -> None:
    """Exactly the files of the last commit that passed, on top of those that did not."""
    good = git("rev-parse", "HEAD", folder=clone).strip()
    (clone / "evil.yaml").write_text("x: 1\n")
    git("add", "evil.yaml", folder=clone)
    commit(clone, "replicas: 9\n", "--no-gpg-sign")
    head = done(clone, "recover", good[:10])

    assert git("diff", good, head, folder=clone) == ""
    assert not (clone / "evil.yaml").exists()
    assert f"Interlock-Recovery: {good}" in git("log", "-1", "--format=%B", folder=clone)
    assert "nothing to get past" in refused(clone, "recover", head).stderr


def test_recover_to_a_commit_that_is_not_the_last_good_one_is_refused(clone: Path) -> None:
    """Good commits are not jumped over; nothing is left behind."""
    start = git("rev-parse", "HEAD", folder=clone).strip()
    commit(clone, "replicas: 2\n")
    commit(clone, "replicas: 9\n", "--no-gpg-sign")

    ran = refused(clone, "recover", start)
    assert ran.returncode == 3 and "not signed" in ran.stderr


def test_init_begins_trust_in_a_repository_without(clone: Path) -> None:
    """In an empty one, and beside files that are there; the root pin is printed, and the key must be git's."""
    home = clone.parent
    git("init", "--quiet", "--initial-branch=main", "fresh", folder=home)
    settings = {
        "user.name": "Ada",
        "user.email": "ada@example.org",
        "gpg.format": "ssh",
        "user.signingkey": str(home / "new.key"),
    }
    for name, value in settings.items():
        git("config", name, value, folder=home / "fresh")
    other = interlock("trust", "init", "ada", "--key", "bob.key.pub", "--repository", "fresh", folder=home)
    assert other.returncode == 3 and "--key" in other.stderr
    first = interlock(
        "trust", "init", "ada", "--key", "new.key.pub", "--repository", "fresh", "-o", "json", folder=home
    )
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)

    assert told["root"]["commit"] == git("rev-parse", "HEAD", folder=home / "fresh").strip()
    assert told["root"]["keys"] == [(home / "new.key.pub").read_text().strip()]
    assert (home / "fresh" / SIGNERS).exists()
    again = interlock("trust", "init", "ada", "--key", "new.key.pub", "--repository", "fresh", folder=home)
    assert again.returncode == 2 and "there already" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "bob"), "--key"),
        (("add", "bob", "--key", "nosuch.pub"), "nosuch.pub"),
        (("add", "bob", "--key", "bob.key"), "private half"),
        (("add", "bob", "--key", "ci.key.pub", "--writes", "**"), "another signer"),
        (("add", "bob", "--key", "bob.key.pub", "--machine", "--approves"), "approves nothing"),
        (("add", "bob", "--key", SHORT, "--writes", "**"), "too short"),
        (("rotate", "ci-shop", "--key", SHORT), "too short"),
        (("add", "bob", "--key", "bob.key.pub", "--writes", "**", "--until", "2020-12-31"), "is past"),
        (("rotate", "nobody", "--key", "new.key.pub"), "nobody is named"),
        (("rotate", "ci-shop"), "no key left"),
        (("rotate", "ci-shop", "--key", "new.key.pub", "--old", "SHA256:x"), "SHA256:x"),
        (("rotate", "ci-shop", "--key", "new.key.pub", "--compromised", "nosuch"), "no such commit"),
        (("recover",), "last commit that passed"),
        (("recover", "nosuch"), "no such commit"),
    ],
)
def test_what_cannot_be_is_one_error(clone: Path, words: tuple[str, ...], said: str) -> None:
    """It says what to do, and nothing is changed."""
    assert said in refused(clone, *words).stderr


def test_whoever_may_do_nothing_is_told_of(clone: Path) -> None:
    """A new signer without paths is let in, and the command says that it is not enough; a further key says nothing."""
    ran = trust(clone, "add", "bob", "--key", "bob.key.pub")
    assert ran.returncode == 0 and "bob may write nothing" in ran.stderr, ran.stderr
    ran = trust(clone, "add", "bob", "--key", "new.key.pub")
    assert ran.returncode == 0 and "may write nothing" not in ran.stderr, ran.stderr


def test_who_has_no_signing_key_is_told_so(clone: Path) -> None:
    """With what to set; a key that is not there is told in git's own words."""
    add = ("add", "bob", "--key", "bob.key.pub", "--writes", "**")
    git("config", "user.signingkey", "/nowhere", folder=clone)
    assert "/nowhere" in refused(clone, *add).stderr
    git("config", "--unset", "user.signingkey", folder=clone)
    ran = refused(clone, *add)
    assert ran.returncode == 2 and "no signing key" in ran.stderr and "git config user.signingkey FILE" in ran.stderr


def test_files_that_are_being_edited_are_not_lost(clone: Path) -> None:
    """An uncommitted change of the same file stops the command, and stays."""
    text = (clone / SIGNERS).read_text() + "# mine\n"
    (clone / SIGNERS).write_text(text)

    ran = trust(clone, "add", "bob", "--key", "bob.key.pub", "--writes", "**")

    assert ran.returncode == 4 and "put away" in ran.stderr
    assert (clone / SIGNERS).read_text() == text
