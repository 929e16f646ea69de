"""Which commits of an environment repository are accepted: every one signed, by somebody who may write what it writes.

Each commit is judged by the signers and bindings of its *parent*, so no commit gives itself a right; and its key must
still be a signer's at the new head, so a removed key signs nothing that was not verified before. docs/trust.md is the
table of the rules; `Refused.rule` is the word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from interlock.contract import commit as commits
from interlock.contract import evidence, layout, release, signature, trailers
from interlock.contract.commit import Change, Parsed, RawCommit, is_plain_path
from interlock.contract.host import RootPin
from interlock.contract.models import Binding, ReleasedComponent, Signer
from interlock.contract.repository import read_trust
from interlock.contract.tree import Tree
from interlock.errors import FormatError, Refused

MAX_CHANGES = 10_000
"""How many files one commit may change."""
_REGULAR = "100644"
_FORBIDDEN = frozenset({".gitmodules", ".gitattributes"})
_TRUST_FILES = (layout.SIGNERS, layout.BINDINGS)
RECOVERY = "Interlock-Recovery"
"""The trailer of a recovery commit: the id of the last commit that passed."""
_REWIND = "bring the branch back to the verified head, then push again what is right"

Blobs = Callable[[str], bytes | None]
"""A file's bytes by its object id; None when it is too large to be read."""


@dataclass(frozen=True)
class Trust:
    """Who may sign, and what may be released where, at one commit."""

    files: Mapping[str, bytes]
    signers: tuple[Signer, ...]
    bindings: tuple[Binding, ...]

    @property
    def keys(self) -> dict[bytes, Signer]:
        return {signature.key_blob(signer.key): signer for signer in self.signers}


@dataclass(frozen=True)
class Point:
    """A verified commit, from which others are judged."""

    commit: str
    tree: str
    trust: Trust


@dataclass(frozen=True)
class Verified:
    """A commit that passed: whose key signed it, what it says, and the paths that it changed."""

    commit: str
    signer: str
    key: str
    """The fingerprint of the key."""
    subject: str
    paths: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    """For a recovery commit: the refused commits that it undoes."""


@dataclass(frozen=True)
class _Link:
    """A commit of the range, taken apart."""

    raw: RawCommit
    parsed: Parsed


def trust_of(files: Mapping[str, bytes], *, commit: str) -> Trust:
    """The trust that these two files give; Refused when they cannot be read or nobody could ever change them again."""
    try:
        signers, bindings = read_trust(Tree.of(files, commit=commit))
        trust = Trust(files, signers, bindings)
        keys = trust.keys
    except FormatError as error:
        raise Refused(f"its trust files cannot be read: {error.message}", rule="trust-change", hint=_REWIND) from error
    if len(keys) != len(signers):
        raise Refused(f"{layout.SIGNERS}: two signers share a key", rule="trust-change", hint=_REWIND)
    if not any(may_write(signer, layout.SIGNERS) and not signer.machine for signer in signers):
        message = f"{layout.SIGNERS}: no person is left who may write it, so nobody could ever change it again"
        raise Refused(message, rule="trust-change", hint=_REWIND)
    return trust


def verify_root(root: RawCommit, *, pin: RootPin, blobs: Blobs) -> tuple[Point, Verified]:
    """The first commit that we trust: the one that the host config names, signed by a key that it names.

    `root.changes` are all of its files.
    """
    with_id = _link(root)
    if root.id != pin.commit:
        raise Refused(f"{root.id[:12]} is not the root pin {pin.commit[:12]}", rule="root-pin")
    keys = {signature.key_blob(key): key for key in pin.keys}
    try:
        signed_by = _signer(with_id, keys)
        for change in root.changes:
            _check_file(change)
        trust = trust_of(_trust_files({}, root.changes, blobs), commit=root.id)
    except Refused as refusal:
        rule = "root-pin" if refusal.rule == "unknown-key" else refusal.rule
        hint = "correct `root` in the host config" if rule == "root-pin" else refusal.hint
        raise Refused(f"commit {root.id[:12]} (the root pin): {refusal.message}", rule=rule, hint=hint) from refusal
    name = next((each.name for blob, each in trust.keys.items() if blob == signature.key_blob(signed_by)), "root")
    point = Point(root.id, with_id.parsed.tree, trust)
    return point, Verified(root.id, name, signature.fingerprint(signed_by), with_id.parsed.subject, ())


def verify_range(
    range_: Sequence[RawCommit], *, base: Point, new: str, blobs: Blobs
) -> tuple[tuple[Verified, ...], Point]:
    """Judge the commits after `base` up to `new`, oldest first: all of them pass, or the first refusal is raised.

    Refused commits may be followed by a recovery commit, which an approver signs and which restores exactly the tree
    of the last commit that passed; they are skipped then, and never deployed.
    """
    chain = _chain(range_, old=base.commit, new=new)
    point, verified, keys, at = base, list[Verified](), base.trust.keys, 0
    while at < len(chain):
        try:
            passed, point_after = _judge(chain[at], point, keys, blobs)
        except Refused:
            recovery = _find_recovery(chain, at, point, keys)
            if recovery is None:
                raise
            passed, point_after = _recover(chain, at, recovery, point, keys)
            at = recovery
        if point_after.trust is not point.trust:
            keys = point_after.trust.keys
        verified.append(passed)
        point = point_after
        at += 1
    _require_current_keys(verified, point)
    return tuple(verified), point


def may_write(signer: Signer, path: str) -> bool:
    """Whether one of the signer's patterns matches: `*` stays within a folder, `**` does not."""
    return any(_pattern(glob).fullmatch(path) for glob in signer.writes)


# explaining ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """What one rule says of a commit. `passes` is None when the rule cannot be asked: nobody is known who signed."""

    rule: str
    passes: bool | None
    said: str


def explain(raw: RawCommit, parent: Point, *, blobs: Blobs, now: Trust | None = None) -> tuple[Check, ...]:
    """Every rule for one commit after its parent, each by itself, where `verify_range` ends at the first refusal.

    `now` is the trust at the branch's head, where the key must be a signer's too. Refused when its bytes are no commit.
    """
    link = _link(raw)
    checks = [_tried("merge", "one parent", lambda: _require_one_parent(link))]
    try:
        signer = _signer(link, parent.trust.keys)
    except Refused as refusal:
        checks.append(Check(refusal.rule, passes=False, said=refusal.message))
        rest = ("path-scope", "release-scope")
        unknown = tuple(Check(rule, passes=None, said="nobody is known who may write here") for rule in rest)
        return (*checks, *_of_files(raw), *unknown, _of_trust(raw, parent, blobs))
    checks.append(Check("signature", passes=True, said=f"by {signer.name}, {signature.fingerprint(signer.key)}"))
    checks += [*_of_files(raw), *_of_scope(raw, signer, parent, blobs), _of_trust(raw, parent, blobs)]
    if now is not None:
        checks.append(_tried("trust-change", f"{signer.name}'s key is a signer's still", lambda: _require(signer, now)))
    return tuple(checks)


def _tried(rule: str, said: str, check: Callable[[], object]) -> Check:
    try:
        check()
    except Refused as refusal:
        return Check(refusal.rule, passes=False, said=refusal.message)
    return Check(rule, passes=True, said=said)


def _of_files(raw: RawCommit) -> tuple[Check, ...]:
    count = len(raw.changes)
    files = "1 file" if count == 1 else f"{count} files"
    return (
        _tried("too-large", f"{files} of at most {MAX_CHANGES}", lambda: _check_count(raw.changes)),
        *_of_each("mode", "regular files under plain paths", raw.changes, _check_file),
    )


def _of_scope(raw: RawCommit, signer: Signer, parent: Point, blobs: Blobs) -> tuple[Check, ...]:
    told = f"{signer.name} may write {', '.join(signer.writes) or 'nothing'}"
    scope = _of_each("path-scope", told, raw.changes, lambda change: _check_scope(change, signer))
    if not signer.machine:
        return (*scope, Check("release-scope", passes=True, said=f"{signer.name} is no machine"))

    def release(change: Change) -> None:
        _check_release(change, signer, parent.trust.bindings, blobs)

    return (*scope, *_of_each("release-scope", "only what bindings give it", raw.changes, release))


def _of_each(rule: str, said: str, changes: Sequence[Change], check: Callable[[Change], object]) -> tuple[Check, ...]:
    """One line when all pass, else one for each path that does not."""
    wrong = [each for change in changes if not (each := _tried(rule, said, partial(check, change))).passes]
    return tuple(wrong) or (Check(rule, passes=True, said=said),)


def _of_trust(raw: RawCommit, parent: Point, blobs: Blobs) -> Check:
    changes = any(change.path in _TRUST_FILES for change in raw.changes)
    said = "the trust files can be read, and people stay who may write them" if changes else "no trust file is changed"
    return _tried("trust-change", said, lambda: _trust_after(parent.trust, raw, blobs))


def _require(signer: Signer, now: Trust) -> None:
    if signature.key_blob(signer.key) not in now.keys:
        raise Refused(f"{signer.name}'s key was removed from {layout.SIGNERS} since", rule="trust-change")


# the chain -------------------------------------------------------------------------------------------


def _chain(range_: Sequence[RawCommit], *, old: str, new: str) -> tuple[_Link, ...]:
    """The commits as one line from `old` to `new`, going by the parents in their own bytes."""
    links = {raw.id: _link(raw) for raw in range_}
    for link in links.values():
        _require_one_parent(link)
    line: list[_Link] = []
    at = new
    while at != old:
        if at not in links or len(line) > len(links):
            raise rewritten(old, new)
        line.append(links[at])
        at = "".join(links[at].parsed.parents)
    if len(line) != len(links):
        raise rewritten(old, new)
    return tuple(reversed(line))


def _require_one_parent(link: _Link) -> None:
    if len(link.parsed.parents) > 1:
        raise Refused(
            f"commit {link.raw.id[:12]} is a merge; the history must be one line",
            rule="merge",
            hint="bring the branch back to the verified head and rebase instead of merging",
        )


def rewritten(old: str, new: str) -> Refused:
    """The refusal of a head that is not the verified head or a descendant of it."""
    return Refused(
        f"the head {new[:12]} does not descend from the verified head {old[:12]}: history was rewritten or went back",
        rule="rewritten",
        hint=f"bring the branch back to {old}; undo by a new commit, not by a forced push",
    )


def _link(raw: RawCommit) -> _Link:
    try:
        parsed = commits.parse(raw.data)
    except Refused as refusal:
        raise _named(refusal, raw.id, "") from refusal
    if commits.object_id("commit", raw.data) != raw.id:
        raise Refused(
            f"commit {raw.id[:12]}: its bytes have another id",
            rule="rewritten",
            hint="delete the mirror's folder; it is fetched again",
        )
    return _Link(raw, parsed)


# one commit ------------------------------------------------------------------------------------------


def _judge(link: _Link, parent: Point, keys: Mapping[bytes, Signer], blobs: Blobs) -> tuple[Verified, Point]:
    """Judge one commit by its parent's trust; `keys` are that trust's."""
    name = ""
    try:
        signer = _signer(link, keys)
        name = signer.name
        _check_changes(link.raw.changes, signer, parent.trust.bindings, blobs)
        trust = _trust_after(parent.trust, link.raw, blobs)
    except Refused as refusal:
        raise _named(refusal, link.raw.id, name) from refusal
    return _verified(link, signer), Point(link.raw.id, link.parsed.tree, trust)


def _signer(link: _Link, keys: Mapping[bytes, signature.Owner]) -> signature.Owner:
    if link.parsed.signature is None:
        raise Refused("it is not signed", rule="unsigned", hint=f"sign it with `git commit -S`; {_REWIND}")
    return signature.verify(link.parsed.signature, link.parsed.payload, keys)


def _verified(link: _Link, signer: Signer, *, skipped: tuple[str, ...] = ()) -> Verified:
    paths = tuple(change.path for change in link.raw.changes)
    return Verified(link.raw.id, signer.name, signature.fingerprint(signer.key), link.parsed.subject, paths, skipped)


def _check_changes(changes: Sequence[Change], signer: Signer, bindings: Sequence[Binding], blobs: Blobs) -> None:
    _check_count(changes)
    for change in changes:
        _check_file(change)
        _check_scope(change, signer)
        if signer.machine:
            _check_release(change, signer, bindings, blobs)


def _check_count(changes: Sequence[Change]) -> None:
    if len(changes) > MAX_CHANGES:
        raise Refused(f"it changes {len(changes)} files, more than {MAX_CHANGES}", rule="too-large", hint=_REWIND)


def _check_file(change: Change) -> None:
    """Paths that mean something to git, or to a shell, and anything but regular files are refused."""
    name = change.path.rpartition("/")[2]
    if not is_plain_path(change.path) or name.lower() in _FORBIDDEN:
        raise Refused(f"the path {change.path!a} is not accepted", rule="forbidden-path", hint=_REWIND)
    if not change.is_deletion and change.new_mode != _REGULAR:
        kind = {"120000": "a symlink", "160000": "a submodule", "100755": "executable"}
        what = kind.get(change.new_mode, f"of mode {change.new_mode}")
        raise Refused(f"{change.path} is {what}; only regular files are accepted", rule="mode", hint=_REWIND)


def _check_scope(change: Change, signer: Signer) -> None:
    if not may_write(signer, change.path):
        raise Refused(
            f"{signer.name} may not write {change.path}",
            rule="path-scope",
            hint=f"{layout.SIGNERS} gives {', '.join(signer.writes) or 'nothing'}",
        )


def _check_release(change: Change, signer: Signer, bindings: Sequence[Binding], blobs: Blobs) -> None:
    """A machine writes entries of release.yaml, evidence and rescans of the components that bindings give it."""
    path = change.path
    if found_evidence := layout.parse_evidence(path):
        environment, application, component = found_evidence
        written = frozenset({component})
    elif found_rescan := layout.parse_rescan(path):
        environment, application, component, _ = found_rescan
        written = frozenset({component})
        if not change.is_deletion:
            _check_rescan(change, signer, bindings, blobs)
    elif found := layout.parse_release(path):
        environment, application = found
        written = _written_components(change, blobs)
    else:
        raise _out_of_scope(signer, path, "is neither a release nor evidence of one")
    stray = sorted(written - _bound(signer, environment, application, bindings))
    if stray:
        raise _out_of_scope(signer, path, f"is about {', '.join(stray)}, which no binding gives it there")


def _check_rescan(change: Change, signer: Signer, bindings: Sequence[Binding], blobs: Blobs) -> None:
    """It must hold what a rescan finds out, and nothing else: one verdict on that image for that environment."""
    path = change.path
    environment, application, component, digits = layout.parse_rescan(path) or ("", "", "", "")
    try:
        found = evidence.read_envelope(_blob(path, change.new_blob, blobs), path=path)
    except FormatError as error:
        raise _out_of_scope(signer, path, f"cannot be read: {error.message}") from error
    repository, _, image_digest = found.image.partition("@sha256:")
    bound = [each for each in bindings if (each.application, each.component) == (application, component)]
    verdicts = [each.get("environment") for each in found.predicates(evidence.GATE_VERDICT)]
    others = {each.predicate_type for each in found.statements} - {evidence.GATE_VERDICT, evidence.VULNERABILITIES}
    if repository not in {each.image for each in bound} or not image_digest.startswith(digits):
        raise _out_of_scope(signer, path, f"is about {found.image[:200]}")
    if verdicts != [environment] or others:
        raise _out_of_scope(signer, path, f"does not hold one verdict for {environment} and its scan")


def _written_components(change: Change, blobs: Blobs) -> frozenset[str]:
    """The components whose entry a changed release.yaml adds or changes; a machine may not take one away."""
    if change.is_deletion:
        raise Refused(f"{change.path}: a machine may not delete it", rule="release-scope")
    before = None if change.old_mode == commits.ABSENT else _text(change.path, change.old_blob, blobs)
    try:
        old, new = _entries(before), _entries(_text(change.path, change.new_blob, blobs))
    except FormatError as error:
        raise Refused(f"{change.path} cannot be read: {error.message}", rule="release-scope") from error
    if gone := sorted(old.keys() - new.keys()):
        raise Refused(f"{change.path}: a machine may not remove {', '.join(gone)}", rule="release-scope")
    return frozenset(name for name in new if old.get(name) != new[name])


@lru_cache(maxsize=64)
def _entries(text: str | None) -> Mapping[str, ReleasedComponent]:
    """Remembered, because one release's new text is the next one's old."""
    return release.read(text).components


def _bound(signer: Signer, environment: str, application: str, bindings: Sequence[Binding]) -> frozenset[str]:
    return frozenset(
        binding.component
        for binding in bindings
        if binding.signer == signer.name and binding.application == application and environment in binding.environments
    )


def _out_of_scope(signer: Signer, path: str, why: str) -> Refused:
    hint = f"{layout.BINDINGS} says what {signer.name} may release"
    return Refused(f"{signer.name} may not write {path}: it {why}", rule="release-scope", hint=hint)


# trust -----------------------------------------------------------------------------------------------


def _trust_after(before: Trust, raw: RawCommit, blobs: Blobs) -> Trust:
    if not any(change.path in _TRUST_FILES for change in raw.changes):
        return before
    return trust_of(_trust_files(before.files, raw.changes, blobs), commit=raw.id)


def _trust_files(before: Mapping[str, bytes], changes: Sequence[Change], blobs: Blobs) -> dict[str, bytes]:
    files = dict(before)
    for change in changes:
        if change.path in _TRUST_FILES:
            files.pop(change.path, None)
            if not change.is_deletion:
                files[change.path] = _blob(change.path, change.new_blob, blobs)
    return files


def _require_current_keys(verified: Sequence[Verified], head: Point) -> None:
    """Every key that signed must still be a signer's: what a removed key signed is not accepted after its removal."""
    current = {signature.fingerprint(signer.key) for signer in head.trust.signers}
    for each in verified:
        if each.key not in current:
            raise Refused(
                f"commit {each.commit[:12]} by {each.signer}: its key was removed from {layout.SIGNERS} "
                f"at or before the head {head.commit[:12]}",
                rule="trust-change",
                hint="push again without it; or, if you have checked all commits up to the removal yourself, "
                "move the root pin in the host config to the commit that removes the key",
            )


# recovery --------------------------------------------------------------------------------------------


def _find_recovery(chain: Sequence[_Link], refused: int, point: Point, keys: Mapping[bytes, Signer]) -> int | None:
    """Where a good recovery commit stands after the refused one; `recovery` is refused when there are only bad ones."""
    wrong: Refused | None = None
    for at in range(refused + 1, len(chain)):
        if (RECOVERY, point.commit) not in trailers.pairs(chain[at].parsed.message):
            continue
        try:
            _recover(chain, refused, at, point, keys)
        except Refused as refusal:
            wrong = refusal
        else:
            return at
    if wrong:
        raise wrong
    return None


def _recover(
    chain: Sequence[_Link], refused: int, at: int, point: Point, keys: Mapping[bytes, Signer]
) -> tuple[Verified, Point]:
    """Judge a recovery commit, which undoes the commits from `refused` on."""
    link = chain[at]
    try:
        signer = _signer(link, keys)
    except Refused as refusal:
        raise _named(refusal, link.raw.id, "", rule="recovery") from refusal
    if not signer.approves or signer.machine:
        raise Refused(
            f"commit {link.raw.id[:12]} by {signer.name}: a recovery must be signed by an approver",
            rule="recovery",
            hint=f"a person with `approves: true` in {layout.SIGNERS} must sign it",
        )
    if link.parsed.tree != point.tree:
        raise Refused(
            f"commit {link.raw.id[:12]} by {signer.name}: it does not restore the files of {point.commit[:12]} exactly",
            rule="recovery",
            hint=f"make it with the tree of {point.commit}",
        )
    skipped = tuple(each.raw.id for each in chain[refused:at])
    return _verified(link, signer, skipped=skipped), Point(link.raw.id, link.parsed.tree, point.trust)


# words -----------------------------------------------------------------------------------------------


def _named(refusal: Refused, commit: str, signer: str, *, rule: str = "") -> Refused:
    by = f" by {signer}" if signer else ""
    return Refused(
        f"commit {commit[:12]}{by}: {refusal.message}", rule=rule or refusal.rule, hint=refusal.hint or _REWIND
    )


def _blob(path: str, blob: str, blobs: Blobs) -> bytes:
    content = blobs(blob)
    if content is None:
        raise Refused(f"{path} is too large", rule="too-large", hint=_REWIND)
    return content


def _text(path: str, blob: str, blobs: Blobs) -> str:
    try:
        return _blob(path, blob, blobs).decode()
    except UnicodeDecodeError:
        raise FormatError("not UTF-8", path=path) from None


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(words.get(word) or re.escape(word) for word in re.split(r"(\*\*/|\*\*|\*|\?)", glob)))
