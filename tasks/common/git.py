"""Git through its plumbing: a fixed argument list, a clean environment, a bare mirror, never a checkout.

Nothing that a repository, a user's home or the machine configures is read: no hooks, helpers, filters, attributes,
replacements or grafts. Credentials travel in the environment of the one process that needs them. Everything has a
timeout and a limit on what it may answer. The functions are plain; the effects that call them are Prefect tasks.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from interlock.contract import commit as commits
from interlock.contract.commit import COMMIT_ID, Change, Person, RawCommit, is_plain_path
from interlock.contract.host import Remote
from interlock.contract.tree import Tree
from interlock.errors import GitError, HostConfigError, PushRejected, Refused
from tasks.common.redaction import know

SECONDS = 60.0
"""How long git may work on local objects."""
NETWORK_SECONDS = 300.0
MAX_COMMITS = 5_000
MAX_COMMIT_BYTES = 1 << 20
"""The longest commit that is read, with its message and signature."""
MAX_FILES = 50_000
MAX_FILE_BYTES = 32 << 20
MAX_TREE_BYTES = 512 << 20
MAX_LIST_BYTES = 32 << 20
"""The longest list of files or changes that is taken from git: three small trees can name a billion files."""
MAX_MEMORY_BYTES = 1 << 30
"""What comparing trees may use; git gathers all differences before it prints the first."""

_BORROWED: ContextVar[Mapping[Path, tuple[Path, ...]]] = ContextVar("borrowed", default={})  # noqa: B039 - never changed
"""By mirror: the folders of objects that it reads besides its own."""
_HEAD = "refs/interlock/head"
_KEPT = "refs/interlock/kept"
_OTHER = "refs/interlock/other"
_REQUEST = "refs/interlock/request"
_REGULAR = ("100644", "100755")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PROTOCOL_FROM_USER": "0",
}
_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.askPass="),
    *("-c", "credential.helper=", "-c", "http.proxy=", "-c", "http.followRedirects=false"),
    # A server that packs a large repository says no more than that it lives, a few bytes every five seconds.
    *("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"),
    *("-c", "protocol.allow=never", "-c", "protocol.http.allow=always", "-c", "protocol.https.allow=always"),
    *("-c", "transfer.fsckObjects=true", "-c", "submodule.recurse=false"),
    # A collection in the background would outlive the lock that we hold for it.
    *("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"),
)
_MIRROR_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
# Ways by which a repository's folder can point git to other objects, other settings or other parents.
_DIVERSIONS = ("objects/info/alternates", "info/grafts", "info/attributes", "config.worktree", "commondir", "shallow")
_PASSING = re.compile(
    r"could not resolve|couldn't resolve|failed to connect|couldn't connect|connection (refused|reset)|timed? ?out"
    r"|operation too slow|error: (429|5\d\d)|rpc failed|early eof|unexpected disconnect|hung up|empty reply",
    re.IGNORECASE,
)
_HINTS = {
    r"could not read Username|Authentication failed|error: 401": "check the repository's `auth` file",
    r"error: 403": "this account may not do that on the server",
    r"hook declined|remote rejected|protected branch": "the server's own rules refuse it: let this account push there",
    r"No space left on device|quota exceeded": "make room on the disk, then run again",
    r"[Oo]peration too slow|timed? ?out|resolve|connect|hung up|error: (429|5\d\d)": "is the server up? the next run "
    "goes on from here",
    r"not found|error: 404": "check the repository's address in the host config",
    r"transport '.*' not allowed": "only http:// and https:// are used",
    r"corrupt|bad object|missing blob|loose object": "delete the mirror's folder; it is fetched again",
}
_RACE = ("stale info", "fetch first", "non-fast-forward", "failed to update ref", "cannot lock", "incorrect old value")


@dataclass(frozen=True)
class Entry:
    """A file of a tree."""

    path: str
    mode: str
    blob: str
    size: int


@dataclass(frozen=True)
class Addition:
    """What a commit wrote into a path."""

    commit: str
    path: str
    blob: str


# mirrors ---------------------------------------------------------------------------------------------


def mirror_path(state: Path, repository: str) -> Path:
    """Where a half keeps its mirror of a repository, below its state folder."""
    return state / "mirrors" / f"{repository.replace('/', '%2F')}.git"


def fetch(mirror: Path, remote: Remote, *, timeout: float = NETWORK_SECONDS) -> str:
    """Bring the branch into the bare mirror (made if missing) and give the commit id at its head."""
    head = fetch_or_empty(mirror, remote, timeout=timeout)
    if head is None:
        raise GitError(
            f"{remote.url} has no branch {remote.branch!r}", hint="push a first commit to it, or correct the branch"
        )
    return head


def fetch_or_empty(mirror: Path, remote: Remote, *, timeout: float = NETWORK_SECONDS) -> str | None:
    """As `fetch`; None when the branch does not exist (yet)."""
    with _locked(mirror, timeout=timeout) as lock:
        return _fetch(mirror, remote, lock=lock, timeout=timeout)


def fetch_other(mirror: Path, remote: Remote, *, timeout: float = NETWORK_SECONDS) -> str | None:
    """As `fetch_or_empty`, for a branch beside the one that the mirror is of."""
    with _locked(mirror, timeout=timeout) as lock:
        return _fetch(mirror, remote, lock=lock, timeout=timeout, into=_OTHER)


def fetch_request(
    mirror: Path, remote: Remote, ref: str, *, largest: int | None = None, timeout: float = NETWORK_SECONDS
) -> str | None:
    """The newest commit of a pull or merge request, by the name that the forge gives it; None when there is none.

    Anybody may have pushed it: no file that comes of it is larger than `largest`.
    """
    with _locked(mirror, timeout=timeout) as lock:
        return _fetch(mirror, remote, lock=lock, timeout=timeout, ref=ref, into=_REQUEST, largest=largest)


def list_branches(mirror: Path, remote: Remote, prefix: str) -> dict[str, str]:
    """The remote's branches below `prefix`, which ends in a slash, and their commits; nothing is fetched."""
    names = f"refs/heads/{prefix}*"
    listing = _run(
        ("ls-remote", "--heads", "--", remote.url, names), mirror=mirror, remote=remote, timeout=NETWORK_SECONDS
    )
    pairs = (line.split("\t") for line in listing.stdout.decode(errors="replace").splitlines())
    return {ref.removeprefix("refs/heads/"): _full(commit) for commit, ref in pairs}


def fetch_grown(mirror: Path, remote: Remote, *, timeout: float = NETWORK_SECONDS) -> str | None:
    """As `fetch_or_empty`, for a branch that only ever grows: Refused when it lost what this mirror has seen."""
    with _locked(mirror, timeout=timeout) as lock:
        head = _fetch(mirror, remote, lock=lock, timeout=timeout)
        seen = _kept(mirror)
        if seen and (head is None or not is_ancestor(mirror, seen, head)):
            raise Refused(
                f"{remote.url}: the branch {remote.branch} no longer holds the commits up to {seen[:12]}",
                rule="rewritten",
                hint=f"find out who rewrote it, and bring it back to {seen}",
            )
        if head and head != seen:
            _keep(mirror, head)
        return head


def _fetch(
    mirror: Path,
    remote: Remote,
    *,
    lock: int,
    timeout: float,
    ref: str | None = None,
    into: str = _HEAD,
    largest: int | None = None,
) -> str | None:
    _prepare(mirror)
    ref = ref or _ref(remote)
    arguments = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
    # The child holds the lock too: if we are killed, nobody meddles with the mirror before it ends.
    done = _run(
        (*arguments, "--", remote.url, f"+{ref}:{into}"),
        mirror=mirror,
        remote=remote,
        timeout=timeout,
        keep=(lock,),
        check=False,
        largest=largest,
    )
    if done.code and "couldn't find remote ref" in done.stderr:
        return None
    if done.code and "fsck error" in done.stderr:
        raise _malformed(done, remote, ref.removeprefix("refs/heads/"))
    _require(done, f"fetch of {ref.removeprefix('refs/heads/')} from {remote.url} failed")
    return _resolve(mirror, into)


def _malformed(done: _Done, remote: Remote, what: str) -> Refused:
    """What was pushed is wrong, and neither the server nor the mirror: it is judged as any other bad commit."""
    why = re.search(r"error: (object [0-9a-f]{40}: .*)", done.stderr)
    return Refused(
        f"{remote.url}: {what} holds an object that git does not accept: {why[1][:300] if why else 'fsck'}",
        rule="malformed",
        hint="whoever may rewrite the branch brings it back to the commit before",
    )


def fetched_head(mirror: Path) -> str | None:
    """The commit that the branch had when anybody fetched it last, without the network."""
    done = _run(("rev-parse", "--verify", "--quiet", _HEAD), mirror=mirror, check=False)
    return _full(done.stdout.decode().strip()) if done.code == 0 else None


def keep(mirror: Path, commit: str, *, forward: bool = False) -> None:
    """Name the commit in the mirror, so that a rewritten branch does not make git forget it.

    `forward`: only if it descends from the one that was named before.
    """
    with _locked(mirror, timeout=SECONDS):
        before = _kept(mirror) if forward else None
        if before is None or is_ancestor(mirror, before, commit):
            _keep(mirror, commit)


def _keep(mirror: Path, commit: str) -> None:
    _run(("update-ref", _KEPT, _full(commit)), mirror=mirror)


def _kept(mirror: Path) -> str | None:
    done = _run(("rev-parse", "--verify", "--quiet", _KEPT), mirror=mirror, check=False)
    return _full(done.stdout.decode().strip()) if done.code == 0 else None


def kept(mirror: Path) -> str | None:
    """The commit that was named last by `keep` or `fetch_grown`, without the network; None while there is no mirror."""
    return _kept(mirror) if mirror.exists() else None


def has_commit(mirror: Path, commit: str) -> bool:
    """Whether the mirror holds this commit."""
    done = _run(("cat-file", "-t", _full(commit)), mirror=mirror, check=False)
    return done.code == 0 and done.stdout == b"commit\n"


def find_commit(mirror: Path, head: str, prefix: str) -> str | None:
    """The commit that is `head` or one of its ancestors and begins with these digits; None when there is none."""
    listing = _run(("rev-list", _full(head)), mirror=mirror, limit=MAX_LIST_BYTES).stdout.decode()
    return next((commit for commit in listing.split() if commit.startswith(prefix)), None)


def is_ancestor(mirror: Path, old: str, new: str) -> bool:
    """Whether `old` is `new` or one of its ancestors; False too when the mirror does not hold `old`."""
    if not has_commit(mirror, old):
        return False
    done = _run(("merge-base", "--is-ancestor", _full(old), _full(new)), mirror=mirror, check=False)
    if done.code not in (0, 1):
        _require(done, f"cannot compare {old[:12]} with {new[:12]}")
    return done.code == 0


def head_of(repository: Path, branch: str) -> str | None:
    """A branch's commit in somebody's own repository on this machine, which is trusted to be just that."""
    found = _ask(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")
    return _full(found.strip()) if found is not None else None


def branches_of(repository: Path) -> tuple[str, ...]:
    """The branches of such a repository that have a commit."""
    found = _ask(repository, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/")
    return tuple((found or "").splitlines())


def _ask(repository: Path, *arguments: str) -> str | None:
    """What git says of somebody's repository; None where it says that there is no such thing."""
    done = subprocess.run(
        ("git", *_OPTIONS, "-c", "safe.directory=*", f"--git-dir={repository}", *arguments),
        capture_output=True,
        cwd="/",
        env=_ENVIRONMENT,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise GitError(f"{repository} cannot be read: {_printable(done.stderr).strip()[:300]}")
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


# reading ---------------------------------------------------------------------------------------------


def list_files(mirror: Path, commit: str, *, under: str = "") -> tuple[Entry, ...]:
    """The commit's files, or those below a folder. Symlinks, submodules and paths that could lead out are refused."""
    path = ("--", f"{under}/") if under else ()
    arguments = ("ls-tree", "-r", "-z", "--long", "--full-tree", _full(commit), *path)
    done = _run(arguments, mirror=mirror, limit=MAX_LIST_BYTES)
    entries = tuple(_entry(record, commit) for record in done.stdout.split(b"\0") if record)
    if len(entries) > MAX_FILES or sum(entry.size for entry in entries) > MAX_TREE_BYTES:
        raise Refused(
            f"{commit[:12]} holds more than {MAX_FILES} files or {MAX_TREE_BYTES >> 20} MiB", rule="too-large"
        )
    return entries


def read_tree(mirror: Path, commit: str, *, executable: bool = False) -> Tree:
    """All files of a commit, in memory. `executable` allows mode 100755, for application repositories."""
    entries = list_files(mirror, commit)
    for entry in entries:
        if entry.mode == "100755" and not executable:
            raise _refused_mode(commit, entry.path, entry.mode)
    blobs = read_blobs(mirror, {entry.blob for entry in entries})
    return Tree.of({entry.path: blobs[entry.blob] for entry in entries}, commit=commit)


def read_blobs(mirror: Path, names: Iterable[str], *, largest: int = MAX_FILE_BYTES) -> dict[str, bytes]:
    """Files by object id, or by `commit:path`; one that does not exist or has more bytes than `largest` is left out."""
    return dict(_objects(mirror, sorted(names), kind="blob", largest=largest))


def tree_id(mirror: Path, commit: str) -> str:
    """The id of a commit's tree."""
    return _parse(commit, _commit_data(mirror, commit)).tree


def read_commits(mirror: Path, old: str | None, new: str, *, most: int | None = None) -> tuple[RawCommit, ...]:
    """The commits that are in `new` and not in `old`, parents first, with what each changes against its first parent.

    Parents and trees are taken from the commits' own bytes, which are hashed again. `old=None`: from the beginning.
    """
    most = MAX_COMMITS if most is None else most
    exclude = () if old is None else (f"^{_full(old)}",)
    listing = ("rev-list", "--reverse", "--topo-order", f"--max-count={most + 1}", _full(new), *exclude)
    ids = _run(listing, mirror=mirror).stdout.decode().split()
    if len(ids) > most:
        raise Refused(
            f"{new[:12]}: more than {most} commits since {old[:12] if old else 'the beginning'}",
            rule="too-large",
            hint="move the root pin in the host config forward, to a commit that you have checked yourself",
        )
    # The base is read too: its tree is what the first new commit is compared with.
    found = dict(_commits(mirror, [*ids, *([old] if old else [])]))
    parsed = {id_: _parse(id_, data) for id_, data in found.items()}
    return _with_changes(mirror, {id_: found[id_] for id_ in ids}, parsed)


def read_commit(mirror: Path, commit: str) -> RawCommit:
    """One commit, with all of its files as changes, whatever parents it has."""
    data = _commit_data(mirror, commit)
    pair = (commits.EMPTY_TREE, _parse(commit, data).tree)
    return RawCommit(commit, data, _differences(mirror, [pair])[pair])


def read_signed(mirror: Path, commit: str) -> RawCommit:
    """One commit's own bytes, without what it changes: enough to ask who signed it."""
    return RawCommit(commit, _commit_data(mirror, commit))


def read_line(mirror: Path, old: str | None, new: str) -> Iterator[RawCommit]:
    """The commits that are in `new` and not in `old`, however many, parents first, without what they change.

    `old=None`: from the beginning.
    """
    exclude = () if old is None else (f"^{_full(old)}",)
    listing = ("rev-list", "--reverse", "--topo-order", _full(new), *exclude)
    ids = _run(listing, mirror=mirror).stdout.decode().split()
    return (RawCommit(id_, data) for id_, data in _commits(mirror, ids))


def read_additions(
    mirror: Path, new: str, *, known: Iterable[str], most: int
) -> tuple[tuple[Addition, ...], str | None]:
    """What the commits in `new` and in none of `known` wrote, newest first, a merge against its first parent.

    `known` may name commits that the mirror does not hold. Of more commits than `most` only the newest are read; the
    second value is then the oldest of them.
    """
    exclude = [f"^{_full(each)}" for each in known if has_commit(mirror, each)]
    listing = ("rev-list", "--topo-order", f"--max-count={most + 1}", _full(new), *exclude)
    ids = _run(listing, mirror=mirror).stdout.decode().split()
    compare = ("diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--root")
    stdin = "".join(f"{each}\n" for each in ids[:most]).encode()
    done = _run(
        (*compare, "--diff-merges=first-parent"),
        mirror=mirror,
        stdin=stdin,
        limit=MAX_LIST_BYTES,
        memory=MAX_MEMORY_BYTES,
    )
    return tuple(_additions(done.stdout)), ids[most - 1] if len(ids) > most else None


def _additions(listing: bytes) -> Iterator[Addition]:
    fields = iter(listing.split(b"\0"))
    commit = ""
    for each in fields:
        if not each.startswith(b":"):
            commit = each.decode()
            continue
        path, (_, mode, _, blob, _) = next(fields).decode(errors="replace"), each.decode().split(" ")
        if mode not in (commits.ABSENT, commits.SUBMODULE):
            yield Addition(commit, path, blob)


def export(mirror: Path, commit: str, *folders: Path) -> None:
    """Write the commit's files into new folders, the same into each, read once.

    Symlinks and submodules are refused; modes are 644 and 755.
    """
    entries = list_files(mirror, commit)
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True)
        for below in sorted({entry.path.rpartition("/")[0] for entry in entries}):
            (folder / below).mkdir(parents=True, exist_ok=True)
    wanted: dict[str, list[Entry]] = {}
    for entry in entries:
        wanted.setdefault(entry.blob, []).append(entry)
    for blob, content in _objects(mirror, sorted(wanted), kind="blob"):
        for entry, folder in itertools.product(wanted.pop(blob), folders):
            _write_new(f"{folder}/{entry.path}", content, mode=0o755 if entry.mode == "100755" else 0o644)
    if wanted:
        raise GitError(f"{commit[:12]}: blobs are missing from the mirror {mirror}", hint="delete the mirror's folder")


# writing ---------------------------------------------------------------------------------------------


def create(mirror: Path) -> None:
    """Make the empty bare mirror if it is not there, for a repository whose first commit is made here."""
    with _locked(mirror, timeout=SECONDS):
        _prepare(mirror)


@contextlib.contextmanager
def borrowing(stores: Sequence[Path]) -> Iterator[Path]:
    """An empty mirror of our own for the length of a block, which reads the objects of other folders.

    So a git server's hook reads what was pushed and is not a part of the repository yet, and nothing that the
    repository itself configures has a say.
    """
    if odd := [store for store in stores if re.search(r'[:"\n]', str(store)) or not store.is_absolute()]:
        raise GitError(f"{odd[0]}: objects cannot be read from a folder of that name", hint="move the repository")
    with tempfile.TemporaryDirectory(prefix="interlock-borrowing-") as folder:
        mirror = Path(folder) / "mirror.git"
        create(mirror)
        token = _BORROWED.set({**_BORROWED.get(), mirror: tuple(stores)})
        try:
            yield mirror
        finally:
            _BORROWED.reset(token)


@contextlib.contextmanager
def reading_also(mirror: Path, other: Path) -> Iterator[None]:
    """The mirror reads the other's objects too, for the length of a block in which nothing is fetched into it."""
    _require_own(other)
    token = _BORROWED.set({**_BORROWED.get(), mirror: (other / "objects",)})
    try:
        yield
    finally:
        _BORROWED.reset(token)


def write_commit(
    mirror: Path,
    parent: str | None,
    changes: Mapping[str, bytes | None],
    *,
    message: str,
    key: Path,
    author: Person,
    seconds: int | None = None,
) -> str:
    """A signed commit on top of `parent` (None: the first), with these files written or, if None, removed.

    Only objects are written; `push` publishes them. `key` is an OpenSSH ed25519 private key file.
    """
    private_key = read_key(key)
    tree = _write_tree(mirror, parent, changes)
    data = commits.unsigned(
        tree=tree,
        parents=(parent,) if parent else (),
        author=author,
        seconds=int(time.time()) if seconds is None else seconds,
        message=message,
    )
    return _hash_object(mirror, "commit", commits.signed(data, private_key))


def push(
    mirror: Path,
    commit: str,
    remote: Remote,
    *,
    expected: str | None,
    rewrite: bool = False,
    timeout: float = NETWORK_SECONDS,
) -> None:
    """Move the remote branch from exactly `expected` (None: absent) to `commit`, which must descend from it.

    PushRejected when the branch is elsewhere: fetch, decide again, push again. `rewrite`: it need not descend.
    """
    if expected is not None and not rewrite and not is_ancestor(mirror, expected, commit):
        raise GitError(f"push of {commit[:12]}: it does not descend from {expected[:12]}")
    lease = f"--force-with-lease={_ref(remote)}:{_full(expected) if expected else ''}"
    arguments = ("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", lease)
    done = _run(
        (*arguments, "--", remote.url, f"{_full(commit)}:{_ref(remote)}"),
        mirror=mirror,
        remote=remote,
        timeout=timeout,
        check=False,
    )
    answer = done.stdout.decode(errors="replace")
    if done.code and any(word in answer for word in _RACE):
        raise PushRejected(
            f"{remote.url}: {remote.branch} is no longer at {expected[:12] if expected else 'its beginning'}",
            hint="fetch, decide again, push again",
        )
    # What a server's rules say of the branch stands there, not among the errors.
    refusal = "".join(f"\n{line.rpartition(chr(9))[2]}" for line in answer.splitlines() if line.startswith("!"))
    done = replace(done, stderr=f"{done.stderr.rstrip()}{_printable(refusal.encode())}")
    _require(done, f"push of {commit[:12]} to {remote.branch} of {remote.url} failed")


def delete_branch(mirror: Path, remote: Remote, *, expected: str, timeout: float = NETWORK_SECONDS) -> None:
    """Take the remote branch away if it is at `expected`; GitError when it is not, or when the server says no."""
    lease = f"--force-with-lease={_ref(remote)}:{_full(expected)}"
    arguments = ("push", "--porcelain", "--no-verify", lease, "--", remote.url, f":{_ref(remote)}")
    done = _run(arguments, mirror=mirror, remote=remote, timeout=timeout, check=False)
    _require(done, f"removal of {remote.branch} from {remote.url} failed")


def read_key(path: Path) -> bytes:
    """The bytes of a private key file that nobody else can read."""
    key = read_private(path, others=0o077, what="signing key", wanted="0600")
    know(key)
    return key


# within ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Done:
    arguments: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: str
    timed_out: bool


def _run(
    arguments: Sequence[str],
    *,
    mirror: Path,
    stdin: bytes = b"",
    remote: Remote | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = SECONDS,
    limit: int = 16 << 20,
    memory: int | None = None,
    largest: int | None = None,
    keep: tuple[int, ...] = (),
    check: bool = True,
) -> _Done:
    """Run git to its end; with `check`, a failure is an error. `limit`, `memory` and `largest` (of a file that it
    writes) are in bytes.
    """
    with _git(
        arguments, mirror=mirror, stdin=stdin, remote=remote, environment=environment, timeout=timeout, keep=keep
    ) as running:
        if memory:
            resource.prlimit(running.process.pid, resource.RLIMIT_AS, (memory, memory))
        if largest:
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        stdout = running.output.read(limit + 1)
        if len(stdout) > limit:
            raise Refused(f"git {arguments[0]} in {mirror}: its answer is longer than {limit} bytes", rule="too-large")
        done = running.finish(stdout)
    if memory and done.code and re.search("out of memory|malloc failed", done.stderr, re.IGNORECASE):
        raise Refused(f"git {arguments[0]} in {mirror}: it needs more than {memory >> 20} MiB", rule="too-large")
    if check:
        _require(done, f"git {arguments[0]} in {mirror} failed")
    return done


@dataclass
class _Running:
    """A git process whose output is being read."""

    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]
    timed_out: threading.Event

    def finish(self, stdout: bytes = b"") -> _Done:
        code = self.process.wait()
        self.errors.seek(0)
        return _Done(self.arguments, code, stdout, _printable(self.errors.read(64 << 10)), self.timed_out.is_set())


@contextlib.contextmanager
def _git(
    arguments: Sequence[str],
    *,
    mirror: Path,
    stdin: bytes = b"",
    remote: Remote | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = SECONDS,
    keep: tuple[int, ...] = (),
) -> Iterator[_Running]:
    """Start git in a process group of its own, which is gone when the block ends or the time is up."""
    _require_own(mirror)
    surroundings = {**_ENVIRONMENT, **(_login(remote) if remote else {}), **(environment or {})}
    if stores := _BORROWED.get().get(mirror):
        surroundings["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = ":".join(map(str, stores))
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            ("git", *_OPTIONS, f"--git-dir={mirror}", *arguments),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd="/",
            env=surroundings,
            start_new_session=True,
            pass_fds=keep,
        )
        timed_out = threading.Event()
        timer = threading.Timer(timeout, _stop, (process, timed_out))
        timer.daemon = True
        timer.start()
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            with process.stdout as output:
                yield _Running(tuple(arguments), process, output, errors, timed_out)
        finally:
            timer.cancel()
            _stop(process)


def _stop(process: subprocess.Popen[bytes], timed_out: threading.Event | None = None) -> None:
    """End the process with its helpers. Its group is its own, so nobody else is hit."""
    if timed_out and process.poll() is None:
        timed_out.set()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if not timed_out:
        process.wait()


def _require(done: _Done, message: str) -> None:
    """A GitError unless git succeeded: what it said, what to do, and whether trying again can help."""
    if done.timed_out:
        on_network = done.arguments[0] in ("fetch", "push")
        hint = "is the server up? the next run goes on from here" if on_network else "is the disk slow, or full?"
        raise GitError(f"{message}: it took too long and was stopped", hint=hint, transient=on_network)
    if done.code:
        # Git's own hints are for people at a prompt, and a server's lines end in blanks.
        lines = (line.strip() for line in done.stderr.splitlines() if not line.startswith("hint:"))
        said = " | ".join([line for line in lines if line][-3:])[:500] or f"exit code {done.code}"
        raise GitError(f"{message}: {said}", hint=_hint(said), transient=bool(_PASSING.search(said)))


def _hint(said: str) -> str:
    """What to do about what git said."""
    return next((hint for pattern, hint in _HINTS.items() if re.search(pattern, said)), "")


def require_login(remote: Remote) -> None:
    """HostConfigError when the remote's auth file is missing, open to others, or not of the form `user:password`."""
    _login(remote)


def _login(remote: Remote) -> dict[str, str]:
    """Environment variables that hold the remote's credentials, for this one process and this one address."""
    if remote.auth is None:
        return {}
    login = read_private(remote.auth, others=0o007, what="auth file", wanted="0600").strip()
    know(login.partition(b":")[2], base64.b64encode(login))
    if b":" not in login or b"\n" in login:
        raise HostConfigError(f"{remote.auth}: the auth file must hold one line, `user:password`")
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{remote.url}.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {base64.b64encode(login).decode()}",
    }


def read_private(path: Path, *, others: int, what: str, wanted: str) -> bytes:
    """A file with a secret in it, which must not be readable by those whom the mode bits `others` name."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(64 << 10)
    except OSError as error:
        raise HostConfigError(f"{path}: the {what} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode) or mode & others:
        raise HostConfigError(
            f"{path}: others may read the {what} (mode {stat.S_IMODE(mode):04o})", hint=f"chmod {wanted} {path}"
        )
    return content


@contextlib.contextmanager
def _locked(mirror: Path, *, timeout: float) -> Iterator[int]:
    """Hold the mirror's file lock: one writer at a time, whichever process it is in."""
    mirror.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(mirror.parent / f".{mirror.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise GitError(f"{mirror}: another run has been fetching into it for {timeout:.0f} s", transient=True)
            time.sleep(0.05)
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prepare(mirror: Path) -> None:
    """Under the lock: sweep what a killed run left, and make the mirror, whole or not at all."""
    for left in mirror.parent.glob(f".{mirror.name}.new-*"):
        shutil.rmtree(left)
    if mirror.exists():
        _sweep_locks(mirror)
        return
    new = Path(tempfile.mkdtemp(prefix=f".{mirror.name}.new-", dir=mirror.parent))
    for folder in ("objects/info", "objects/pack", "refs/heads"):
        (new / folder).mkdir(parents=True)
    (new / "HEAD").write_text("ref: refs/heads/main\n")
    (new / "config").write_bytes(_MIRROR_CONFIG)
    new.rename(mirror)


def _sweep_locks(mirror: Path) -> None:
    """Git's own lock files are nobody's while we hold ours: a killed git left them."""
    for left in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock"), mirror / "gc.pid"):
        left.unlink(missing_ok=True)


def _require_own(mirror: Path) -> None:
    """Refuse a mirror that is not as we made it, before git reads anything in it."""
    try:
        owner, config = mirror.stat().st_uid, (mirror / "config").read_bytes()
    except OSError as error:
        raise GitError(f"{mirror}: the mirror cannot be read: {error.strerror}", hint="fetch it first") from None
    diverted = [name for name in _DIVERSIONS if (mirror / name).exists()]
    if owner != os.geteuid() or config != _MIRROR_CONFIG or diverted:
        raise Refused(
            f"{mirror}: somebody else changed the mirror ({', '.join(diverted) or 'its owner or config'})",
            rule="mirror",
            hint="find out who, then delete the folder; it is fetched again",
        )


def _objects(
    mirror: Path, names: Sequence[str], *, kind: str, largest: int = MAX_FILE_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Objects in the order asked for, by one process; missing and larger ones are left out, other kinds refused."""
    if not names:
        return
    if any("\n" in name for name in names):
        raise Refused("an object's name holds a line break", rule="forbidden-path")
    stdin = "".join(f"{name}\n" for name in names).encode(errors="surrogateescape")
    total = 0
    with _git(("cat-file", "--batch"), mirror=mirror, stdin=stdin) as running:
        for name in names:
            header = running.output.readline().decode(errors="replace").rstrip("\n")
            if header.endswith(" missing"):
                continue
            found_id, found_kind, size = _batch_header(running, header)
            total += size
            if found_kind != kind or total > MAX_TREE_BYTES:
                raise Refused(f"{name}: a {found_kind} of {size} bytes is not accepted here", rule="too-large")
            if size > largest and kind == "commit":
                raise _too_large(found_id, largest)
            if size > largest:
                _discard(running.output, size + 1)
                continue
            content = running.output.read(size)
            if len(content) != size or running.output.read(1) != b"\n" or commits.object_id(kind, content) != found_id:
                raise GitError(f"{name}: the mirror {mirror} is damaged", hint="delete the mirror's folder")
            yield name, content


def _too_large(commit: str, largest: int) -> Refused:
    return Refused(
        f"commit {commit[:12]} has a message, or a signature, of more than {largest >> 10} KiB",
        rule="too-large",
        hint="whoever may rewrite the branch brings it back to the commit before",
    )


def _discard(output: IO[bytes], size: int) -> None:
    while size > 0 and (block := output.read(min(size, 1 << 20))):
        size -= len(block)


def _commits(mirror: Path, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """All of these commits, in this order: one that is left out would be one that is not judged."""
    found = _objects(mirror, ids, kind="commit", largest=MAX_COMMIT_BYTES)
    for id_ in ids:
        name, data = next(found, ("", b""))
        if name != id_:
            raise Refused(f"{id_[:12]} is not a commit of this repository", rule="rewritten")
        yield id_, data


def _commit_data(mirror: Path, commit: str) -> bytes:
    return next(data for _, data in _commits(mirror, [_full(commit)]))


def _parse(commit: str, data: bytes) -> commits.Parsed:
    try:
        return commits.parse(data)
    except Refused as refusal:
        raise Refused(f"commit {commit[:12]}: {refusal.message}", rule=refusal.rule, hint=refusal.hint) from refusal


def _batch_header(running: _Running, header: str) -> tuple[str, str, int]:
    words = header.split(" ")
    if len(words) != 3 or not words[2].isdigit():
        done = running.finish()
        _require(done, "reading objects failed")
        raise GitError(f"reading objects failed: git answered {header[:100]!r}")
    return words[0], words[1], int(words[2])


def _with_changes(
    mirror: Path, data: Mapping[str, bytes], parsed: Mapping[str, commits.Parsed]
) -> tuple[RawCommit, ...]:
    """Pair each commit with its changes against its first parent; one outside the range counts as an empty tree."""
    pairs = {}
    for id_ in data:
        parent = parsed[id_].parents[:1]
        before = parsed[parent[0]].tree if parent and parent[0] in parsed else commits.EMPTY_TREE
        pairs[id_] = (before, parsed[id_].tree)
    changes = _differences(mirror, list(pairs.values()))
    return tuple(RawCommit(id_, content, changes[pairs[id_]]) for id_, content in data.items())


def _differences(mirror: Path, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[Change, ...]]:
    """The changed files between pairs of trees. Trees, not commits, are compared: nothing else can have a say."""
    arguments = ("diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames", "--no-abbrev")
    stdin = "".join(f"{before} {after}\n" for before, after in pairs).encode()
    done = _run(arguments, mirror=mirror, stdin=stdin, limit=MAX_LIST_BYTES, memory=MAX_MEMORY_BYTES)
    fields = done.stdout.split(b"\0")
    changes: dict[tuple[str, str], list[Change]] = {pair: [] for pair in pairs}
    current: tuple[str, str] | None = None
    at = 0
    while at < len(fields) - 1:
        # Between the pairs git prints "TREE TREE\n", glued to the next record, because -z ends only records.
        line, _, record = fields[at].rpartition(b"\n")
        if line:
            words = line.decode().split("\n")[-1].split(" ")
            current = (words[0], words[1])
            changes[current] = []
        path = fields[at + 1].decode(errors="surrogateescape")
        old_mode, new_mode, old_blob, new_blob, _status = record[1:].decode().split(" ")
        if current is None:
            raise GitError(f"git diff-tree in {mirror}: its answer is not understood")
        changes[current].append(Change(path, old_mode, new_mode, old_blob, new_blob))
        at += 2
    return {pair: tuple(found) for pair, found in changes.items()}


def _entry(record: bytes, commit: str) -> Entry:
    facts, _, raw_path = record.partition(b"\t")
    mode, kind, blob, size = facts.decode().split()
    path = raw_path.decode(errors="surrogateescape")
    if kind != "blob" or mode not in _REGULAR:
        raise _refused_mode(commit, path, mode)
    if not is_plain_path(path):
        raise Refused(f"{commit[:12]}: the path {path!a} is not accepted", rule="forbidden-path")
    if not size.isdecimal():
        raise GitError(f"{commit[:12]}: {path} is damaged in the mirror", hint="delete the mirror's folder")
    if int(size) > MAX_FILE_BYTES:
        raise Refused(f"{commit[:12]}: {path} is larger than {MAX_FILE_BYTES >> 20} MiB", rule="too-large")
    return Entry(path, mode, blob, int(size))


def _refused_mode(commit: str, path: str, mode: str) -> Refused:
    kinds = {"120000": "a symlink", "160000": "a submodule", "100755": "executable"}
    return Refused(
        f"{commit[:12]}: {path!a} is {kinds.get(mode, f'of mode {mode}')}; only regular files are accepted",
        rule="mode",
        hint="replace it by a regular file",
    )


def _write_tree(mirror: Path, parent: str | None, changes: Mapping[str, bytes | None]) -> str:
    """A tree like the parent's with these changes, by way of an index that only this call sees."""
    lines = []
    for path, content in sorted(changes.items(), key=lambda item: item[1] is not None):  # removals make room first
        if not is_plain_path(path):
            raise GitError(f"{path!a} cannot be written into a commit")
        blob = commits.object_id("blob", b"") if content is None else _hash_object(mirror, "blob", content)
        lines.append(f"{'0' if content is None else '100644'} {blob}\t{path}\0")
    with tempfile.TemporaryDirectory(prefix="interlock-index-") as folder:
        environment = {"GIT_INDEX_FILE": f"{folder}/index"}
        if parent:
            _run(("read-tree", f"{_full(parent)}^{{tree}}"), mirror=mirror, environment=environment)
        stdin = "".join(lines).encode()
        _run(("update-index", "-z", "--index-info"), mirror=mirror, environment=environment, stdin=stdin)
        return _run(("write-tree",), mirror=mirror, environment=environment).stdout.decode().strip()


def _hash_object(mirror: Path, kind: str, data: bytes) -> str:
    written = _run(("hash-object", "-t", kind, "-w", "--stdin"), mirror=mirror, stdin=data).stdout.decode().strip()
    if written != commits.object_id(kind, data):
        raise GitError(f"{mirror}: git wrote other bytes than it was given")
    return written


def _write_new(path: str, content: bytes, *, mode: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        os.fchmod(opened.fileno(), mode)


def _resolve(mirror: Path, ref: str) -> str:
    return _full(_run(("rev-parse", "--verify", f"{ref}^{{commit}}"), mirror=mirror).stdout.decode().strip())


def _ref(remote: Remote) -> str:
    return f"refs/heads/{remote.branch}"


def _full(commit: str) -> str:
    """The id itself, if it is a full one: nothing shorter, and no option, reaches git."""
    if not COMMIT_ID.fullmatch(commit):
        raise Refused(f"{commit[:60]!r} is not a full commit id", rule="commit-id")
    return commit


def _printable(data: bytes) -> str:
    """What git wrote, without the control characters that a remote may have put there."""
    text = data.decode(errors="replace").replace("\r", "\n")
    return "".join(character for character in text if character.isprintable() or character == "\n")
