"""`interlock approve` and `approvals`, in clones of people with git and a server's repository of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from interlock.contract import approvals, layout, strict_yaml
from tests.unit.cli.commands import Done, git, interlock
from tests.unit.trust.history import Key, new_key

VALUES = "environments/dev/shop/values.yaml"


@dataclass
class People:
    """ada made the repository; ben may approve. Both have a clone; `server` is what they push to."""

    home: Path
    ben: Path
    server: Path
    key: Key

    def approve(self, *options: str) -> Done:
        return interlock("approve", "dev", "--repository", self.ben, "--key", "ben-key", *options, folder=self.home)

    def waits(self, *options: str) -> Done:
        return interlock("approvals", "--repository", self.ben, *options, folder=self.home)

    def change(self, path: str, text: str) -> str:
        """ada commits and pushes."""
        folder = self.home / "environments"
        (folder / path).write_text(text)
        git("add", "-A", folder=folder)
        git("commit", "-qm", "Change", folder=folder)
        git("push", "-q", "origin", "main", folder=folder)
        return git("rev-parse", "HEAD", folder=folder).strip()

    def head(self) -> str:
        return git("rev-parse", "main", folder=self.server).strip()


@pytest.fixture
def people(home: Path) -> People:
    """The rule came with the second commit; nothing of dev was changed since."""
    folder, server, ben, key = home / "environments", home / "server.git", home / "ben", new_key()
    (home / "ben-key").touch(mode=0o600)
    (home / "ben-key").write_bytes(key.private)
    git("init", "-q", "--bare", "--initial-branch=main", server, folder=home)
    git("remote", "add", "origin", server, folder=folder)
    git("push", "-q", "origin", "main", folder=folder)
    git("clone", "-q", server, ben, folder=home)
    git("config", "user.name", "Ben", folder=ben)
    git("config", "user.email", "ben@example.org", folder=ben)
    found = People(home, ben, server, key)
    text = (folder / layout.SIGNERS).read_text()
    signers = strict_yaml.load(text, path="").value
    assert isinstance(signers, dict)
    signers["signers"].append({"name": "ben", "key": key.public, "writes": [], "approves": True})
    found.change(layout.SIGNERS, strict_yaml.dump({**signers, "approvals": {"dev": {"required": 1}}}))
    return found


def test_a_key_that_others_may_read_is_told_before_anything(people: People) -> None:
    """With the command that mends it, where ssh-keygen would only say that there is no key."""
    (people.home / "ben-key").chmod(0o644)
    people.change(VALUES, "replicas: 3\n")
    done = people.approve("--yes")
    assert done.returncode == 2 and "others may read the key" in done.stderr
    assert done.stderr.splitlines()[-1] == f"  hint: chmod 600 {people.home / 'ben-key'}"


def test_a_person_sees_what_it_is_about_and_approves_it(people: People) -> None:
    """What differs is shown; one signed commit upon the server's branch holds the approval, and the clone stays."""
    first = git("rev-list", "--max-parents=0", "main", folder=people.server).strip()
    changed = people.change(VALUES, "replicas: 3\n")
    before = git("status", "--porcelain", "--branch", folder=people.ben)

    done = people.approve("--yes", "--hours", "4")

    assert done.returncode == 0, done.stderr
    assert f"taken as deployed: {first[:12]}" in done.stderr
    assert VALUES in done.stdout
    assert done.stdout.splitlines()[-1].startswith("pushed ")
    assert git("status", "--porcelain", "--branch", folder=people.ben).splitlines()[1:] == before.splitlines()[1:]
    head = people.head()
    assert git("rev-parse", f"{head}^", folder=people.server).strip() == changed
    (path,) = git("diff", "--name-only", changed, head, folder=people.server).split()
    given = approvals.read(git("show", f"{head}:{path}", folder=people.server).encode(), path=path)
    assert (given.approval.approver, given.approval.base) == ("ben", first)
    lasts = approvals.moment(given.approval.ends) - approvals.moment(given.approval.given)
    assert lasts.total_seconds() == 4 * 3600
    git("pull", "-q", "--ff-only", folder=people.ben)
    assert interlock("trust", "explain", head, "--repository", people.ben, folder=people.home).returncode == 0

    assert "approved already" in people.approve("--yes").stderr
    (report,) = json.loads(people.waits("--output", "json").stdout)
    waits = report["data"]
    assert (waits["approved"], waits["approvals"][0]["counts"]) == (True, "yes")


def test_what_waits_is_told(people: People) -> None:
    """`interlock approvals` says what is missing, who may give it, and how."""
    people.change(VALUES, "replicas: 3\n")

    done = people.waits()

    assert done.returncode == 0, done.stderr
    assert "waits for approvals" in done.stdout
    assert "1 approval of ben" in done.stdout
    assert "interlock approve dev --deployed " in done.stdout


def test_nothing_is_approved_without_being_asked(people: People) -> None:
    """Without a terminal and --yes nothing is signed or pushed."""
    head = people.change(VALUES, "replicas: 3\n")

    done = people.approve()

    assert (done.returncode, people.head()) == (2, head)
    assert "--yes does not ask" in done.stderr


def test_who_changed_it_is_told_so(people: People) -> None:
    """One's own change, a stranger's key, an unknown base, too long an end: refused before anything is pushed."""
    head = people.change(VALUES, "replicas: 3\n")
    mine = people.home / ".config" / "interlock" / "signing-key"
    other = people.home / "other"
    other.touch(mode=0o600)
    other.write_bytes(new_key().private)

    own = people.approve("--yes", "--key", str(mine))
    stranger = people.approve("--yes", "--key", str(other))
    wrong = people.approve("--yes", "--deployed", "9" * 40)
    long = people.approve("--yes", "--hours", "169")

    assert (own.returncode, stranger.returncode, wrong.returncode, long.returncode) == (1, 2, 2, 2)
    assert "you have changed it yourself" in own.stderr
    assert "is nobody's in trust/signers.yaml" in stranger.stderr
    assert people.head() == head


def test_what_changed_since_it_was_looked_at_is_not_approved(people: People) -> None:
    """`--commit` is what was looked at: a newer commit that changes the environment needs a new look."""
    looked_at = people.change(VALUES, "replicas: 3\n")
    people.change(VALUES, "replicas: 4\n")
    git("fetch", "-q", folder=people.ben)

    done = people.approve("--yes", "--commit", looked_at)

    assert done.returncode == 1
    assert "what it reads has changed since" in done.stderr


def test_a_secret_s_values_are_not_shown(people: People) -> None:
    """Of a Secret that changes one sees which values do, and none of them."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    (people.home / "environments" / "environments" / "dev" / "extra" / "manifests").mkdir(parents=True)
    people.change("environments/dev/extra/manifests/s.yaml", yaml.safe_dump(secret))

    done = people.approve("--yes")

    assert '+  password: "•••• ' in done.stdout, done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_what_renders_to_the_same_is_shown_as_text(people: People) -> None:
    """Whether drift is undone, and whose keys may write here, is no object of the cluster, and is agreed to as well."""
    folder, path = people.home / "environments", layout.environment("dev")
    text = (folder / path).read_text()
    assert "\ndrift: undo\n" in text
    people.change(path, text.replace("\ndrift: undo\n", "\ndrift: observe\n"))
    signers = strict_yaml.load((folder / layout.SIGNERS).read_text(), path="").value
    assert isinstance(signers, dict)
    zed = new_key().public
    signers["signers"].append({"name": "zed", "key": zed, "writes": ["environments/**"]})
    people.change(layout.SIGNERS, strict_yaml.dump(signers))

    done = people.approve("--yes")

    assert done.returncode == 0, done.stderr
    assert "+drift: observe" in done.stdout
    assert zed.split()[1] in done.stdout
