"""Which commits of an environment repository are accepted: every one signed, by somebody who may write what it writes.

Each commit is judged by the signers and bindings of its *parent*, so no commit gives itself a right; and its key must
still be a signer's at the new head, or have ended after it there, so a removed key signs nothing that was not verified
before. docs/trust.md is the table of the rules; `Refused.rule` is the word.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

from interlock.contract import commit as commits
from interlock.contract import evidence, last_days, layout, openpgp, path_pattern, release, signature, trailers
from interlock.contract.commit import Change, Parsed, RawCommit, is_plain_path
from interlock.contract.host import RootPin
from interlock.contract.last_days import Keys, LastDays, Signing
from interlock.contract.models import Binding, EndedKey, ReleasedComponent, Signer
from interlock.contract.repository import read_approvals, read_trust
from interlock.contract.tree import Tree
from interlock.errors import FormatError, Refused, Untrusted

MAX_CHANGES = 10_000
"""How many files one commit may change."""
_REGULAR = "100644"
_FORBIDDEN = frozenset({".gitmodules", ".gitattributes"})
_TRUST = "trust/"
_TRUST_FILES = (layout.SIGNERS, layout.BINDINGS)
RECOVERY = "Interlock-Recovery"
"""The trailer of a recovery commit: the id of the last commit that passed."""
_REWIND = "bring the branch back to the verified head, then push again what is right"

Blobs = Callable[[str], bytes | None]
"""A file's bytes by its object id; None when it is too large to be read."""
Vouch = Callable[[RawCommit, Signer, "Trust"], frozenset[str]]
"""Who has reviewed what a forge squashed and signed, by the forge's word and the trust of its parent.

Refused when it is no squashed request, ForgeError when the forge cannot be asked.
"""


def nobody_asks(raw: RawCommit, signer: Signer, trust: Trust) -> frozenset[str]:
    """For whoever asks no forge: what one has signed passes nowhere then."""
    raise Refused(
        f"it is signed by the forge {signer.name}, whose reviews are not asked for here",
        rule="squash",
        hint="a host asks the forge that `environment_repository.reviews` in its file names; "
        "or a person pushes the request's commits as they are, signed",
    )


@dataclass(frozen=True)
class Holder:
    """Whose key it is, and which one: its fingerprint."""

    signer: Signer
    key: str


@dataclass(frozen=True)
class Trust:
    """Who may sign, and what may be released where, at one commit."""

    files: Mapping[str, bytes]
    signers: tuple[Signer, ...]
    bindings: tuple[Binding, ...]
    ended: tuple[EndedKey, ...] = ()

    @cached_property
    def holders(self) -> Mapping[bytes, Holder]:
        """By key, as signatures name it."""
        keys = ((signature.key_blob(key), signer) for signer in self.signers for key in signer.all_keys)
        return {blob: Holder(signer, signature.fingerprint(blob)) for blob, signer in keys}

    @cached_property
    def by_fingerprint(self) -> Mapping[str, Signer]:
        return {holder.key: holder.signer for holder in self.holders.values()}

    @cached_property
    def ends(self) -> Mapping[str, EndedKey]:
        """The keys that ended, by fingerprint."""
        return {signature.fingerprint(each.key): each for each in self.ended}

    @cached_property
    def last_days(self) -> LastDays:
        """On which each key signs for the last time, by its signer's `until` or by its own word."""
        return {holder.key: _last_day(holder.signer, blob) for blob, holder in self.holders.items()}

    @cached_property
    def says_of_keys(self) -> Keys:
        return Keys(self.last_days, {key: each.believed_to for key, each in self.ends.items()})


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
    vouched: frozenset[str] = frozenset()
    """For a request that a forge squashed: who reviewed it, by the forge's word."""


@dataclass(frozen=True)
class _Link:
    """A commit of the range, taken apart."""

    raw: RawCommit
    parsed: Parsed


def trust_of(files: Mapping[str, bytes], *, commit: str) -> Trust:
    """The trust that these two files give; Refused when they cannot be read or nobody could ever change them again."""
    try:
        file, bindings = read_trust(Tree.of(files, commit=commit))
        read_approvals(Tree.of(files, commit=commit))
        trust = Trust(files, file.signers, bindings, file.ended)
        living, ended = trust.by_fingerprint, trust.ends
    except FormatError as error:
        raise Refused(f"its trust files cannot be read: {error.message}", rule="trust-change", hint=_REWIND) from error
    if len(living) != sum(len(signer.all_keys) for signer in file.signers):
        raise Refused(f"{layout.SIGNERS}: two signers share a key", rule="trust-change", hint=_REWIND)
    if revived := sorted(living.keys() & ended.keys()):
        message = f"{layout.SIGNERS}: the key {revived[0]} ended, and a key that ended never signs again"
        raise Refused(message, rule="trust-change", hint=_REWIND)
    if not any(may_write(signer, layout.SIGNERS) and not signer.machine for signer in file.signers):
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
    key = signature.fingerprint(signed_by)
    name = trust.by_fingerprint[key].name if key in trust.by_fingerprint else "root"
    point = Point(root.id, with_id.parsed.tree, trust)
    return point, Verified(root.id, name, key, with_id.parsed.subject, ())


def verify_root_key(root: RawCommit, *, pin: RootPin) -> None:
    """That the pinned commit is signed by a key that the host config names now; Untrusted when none of them did it."""
    try:
        _signer(_link(root), {signature.key_blob(key): key for key in pin.keys})
    except Refused as refusal:
        raise Untrusted(
            f"commit {root.id[:12]} (the root pin): {refusal.message}",
            rule="root-pin",
            hint="`root.keys` in the host config are not the keys by which everything since was verified",
        ) from refusal


def verify_head(
    head: RawCommit, *, parent: Point | None, trust: Trust, blobs: Blobs, vouch: Vouch = nobody_asks
) -> None:
    """Judge the verified head once more, by its parent's trust and its own; Untrusted when it would not pass today.

    A recovery commit has a refused parent, whose trust may be None: of it the signature alone is judged again.
    """
    link = _link(head)
    try:
        passed, point = _judge(link, _readable(parent), blobs, vouch)
        _require_believed([passed], replace(point, trust=trust), {head.id: 0})
    except Refused as refusal:
        if not _is_recovery(link, trust):
            message = f"the verified head would not pass any more: {refusal.message}"
            raise Untrusted(message, rule=refusal.rule, hint=refusal.hint) from refusal


def _readable(parent: Point | None) -> Point:
    if parent is None:
        raise Refused("its parent's trust files cannot be read", rule="trust-change")
    return parent


def _is_recovery(link: _Link, trust: Trust) -> bool:
    """Whether an approver signed it as one; its trust is that of the commit that it restored."""
    try:
        _require_approver(link, _signer(link, trust.holders).signer)
    except Refused:
        return False
    return any(key == RECOVERY for key, _ in trailers.pairs(link.parsed.message))


def verify_range(
    range_: Sequence[RawCommit],
    *,
    base: Point,
    new: str,
    blobs: Blobs,
    today: dt.date,
    known: bool = False,
    vouch: Vouch = nobody_asks,
) -> tuple[tuple[Verified, ...], Point]:
    """Judge the commits after `base` up to `new`, oldest first: all of them pass, or the first refusal is raised.

    Refused commits may be followed by a recovery commit, which an approver signs and which restores exactly the tree
    of the last commit that passed; they are skipped then, and never deployed.
    `today`, in UTC, is by the host's clock: what a commit says of its own time counts for nothing.
    `known` says that the base is this host's verified head, not the root: then nobody may have written what they may
    not write any more at the new head. `vouch` is asked of what a forge has signed.
    """
    chain = _chain(range_, old=base.commit, new=new)
    point, verified, at = base, list[Verified](), 0
    signings: list[Signing] = []
    while at < len(chain):
        try:
            passed, point_after = _judge(chain[at], point, blobs, vouch)
        except Refused:
            recovery = _find_recovery(chain, at, point)
            if recovery is None:
                raise
            passed, point_after = _recover(chain, at, recovery, point)
            at = recovery
        verified.append(passed)
        before, after = point.trust.says_of_keys, point_after.trust.says_of_keys
        signings.append(Signing(passed.commit, passed.key, before, after))
        point = point_after
        at += 1
    places = {base.commit: -1, **{link.raw.id: place for place, link in enumerate(chain)}}
    _require_believed(verified, point, places)
    _require_current(verified, point.trust, today)
    _require_in_time(signings, verified, today)
    if known and point.trust is not base.trust:
        _require_scopes_of_head(chain, verified, point, blobs)
    return tuple(verified), point


def newly_compromised(before: Trust, now: Trust) -> tuple[EndedKey, ...]:
    """The keys of which a commit since says for the first time from where on they are not believed."""
    told = {(key, each.compromised) for key, each in before.ends.items()}
    return tuple(each for key, each in now.ends.items() if each.compromised and (key, each.compromised) not in told)


def require_none_by(key: EndedKey, history: Iterable[RawCommit]) -> None:
    """That a compromised key signed none of these commits, which were verified before that was known; else Untrusted.

    `history` is what comes after the commit up to which the key is believed, oldest first.
    """
    owner = {signature.key_blob(key.key): key}
    for raw in history:
        try:
            _signer(_link(raw), owner)
        except Refused:
            continue
        raise _compromised(raw.id, key, seen=True)


def _compromised(commit: str, key: EndedKey, *, seen: bool) -> Refused:
    kind, and_verified = (Untrusted if seen else Refused), ", and was verified before that was known" if seen else ""
    return kind(
        f"commit {commit[:12]} is signed by {key.name}'s key {signature.fingerprint(key.key)}, which is compromised "
        f"since {key.believed_to[:12]}{and_verified}",
        rule="key-compromised",
        hint="undo by new commits what that key did; then an approver moves `compromised` in "
        f"{layout.SIGNERS} to the last of them: `interlock trust recover --compromised {key.name}`",
    )


def refuses(raw: RawCommit, parent: Point, *, blobs: Blobs) -> bool:
    """Whether the commit is refused after its parent, even if everybody had reviewed what a forge has signed."""
    try:
        _judge(_link(raw), parent, blobs, lambda _raw, _signer, trust: frozenset(each.name for each in trust.signers))
    except Refused:
        return True
    return False


def may_write(signer: Signer, path: str) -> bool:
    """Whether one of the signer's patterns matches: `*` stays within a folder, `**` does not."""
    return any(path_pattern.matches(glob, path) for glob in signer.writes)


# explaining ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """What one rule says of a commit. `passes` is None when the rule cannot be asked: nobody is known who signed."""

    rule: str
    passes: bool | None
    said: str


def explain(
    raw: RawCommit,
    parent: Point,
    *,
    blobs: Blobs,
    today: dt.date,
    now: Trust | None = None,
    before: Collection[str] = (),
) -> tuple[Check, ...]:
    """Every rule for one commit after its parent, each by itself, where `verify_range` ends at the first refusal.

    `now` is the trust at the branch's head, where the key must be a signer's too, or have ended at one of the commits
    that the commit is `before`. Refused when its bytes are no commit.
    """
    link = _link(raw)
    checks = [_tried("merge", "one parent", lambda: _require_one_parent(link))]
    try:
        signed_by = _signer(link, parent.trust.holders)
    except Refused as refusal:
        checks.append(Check(refusal.rule, passes=False, said=refusal.message))
        rest = ("path-scope", "release-scope")
        unknown = tuple(Check(rule, passes=None, said="nobody is known who may write here") for rule in rest)
        return (*checks, *_of_files(raw), *unknown, _of_trust(raw, parent, blobs, None))
    signer = signed_by.signer
    checks.append(Check("signature", passes=True, said=f"by {signer.name}, {signed_by.key}"))
    passed = Verified(raw.id, signer.name, signed_by.key, "", ())
    after, newest = _trust_if_readable(raw, parent, blobs), now or parent.trust
    in_its_day = partial(_require_in_its_day, passed, parent.trust, after, newest, today)
    checks.append(_tried("key-expired", "its last day is not over", in_its_day))
    checks += [*_of_files(raw), *_of_scope(raw, signer, parent, blobs), _of_trust(raw, parent, blobs, signer)]
    if now is not None:
        said = f"{signer.name}'s key is a signer's still, or ended later"
        checks.append(_tried("trust-change", said, lambda: _require(raw.id, signed_by, now, before)))
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
    if signer.forge:
        said = "a squashed request: whether its reviews vouch for it, a host asks the forge"
        return (*scope, Check("squash", passes=None, said=said))
    if not signer.machine:
        return (*scope, Check("release-scope", passes=True, said=f"{signer.name} is no machine"))

    def release(change: Change) -> None:
        _check_release(change, signer, parent.trust.bindings, blobs)

    return (*scope, *_of_each("release-scope", "only what bindings give it", raw.changes, release))


def _of_each(rule: str, said: str, changes: Sequence[Change], check: Callable[[Change], object]) -> tuple[Check, ...]:
    """One line when all pass, else one for each path that does not."""
    wrong = [each for change in changes if not (each := _tried(rule, said, partial(check, change))).passes]
    return tuple(wrong) or (Check(rule, passes=True, said=said),)


def _require_in_its_day(passed: Verified, parent: Trust, after: Trust | None, now: Trust, today: dt.date) -> None:
    """By the newest trust; where the commit moves its own key's last day, by its parent's."""
    _require_current([passed], now, today)
    if after and after.last_days.get(passed.key) != parent.last_days[passed.key]:
        _require_current([passed], parent, today)


def _trust_if_readable(raw: RawCommit, parent: Point, blobs: Blobs) -> Trust | None:
    try:
        return _trust_after(parent.trust, raw, blobs, None)
    except Refused:
        return None


def _of_trust(raw: RawCommit, parent: Point, blobs: Blobs, signer: Signer | None) -> Check:
    changes = any(change.path in _TRUST_FILES for change in raw.changes)
    said = "the trust files can be read, and people stay who may write them" if changes else "no trust file is changed"
    return _tried("trust-change", said, lambda: _trust_after(parent.trust, raw, blobs, signer))


def _require(commit: str, signed_by: Holder, now: Trust, before: Collection[str]) -> None:
    if signed_by.key in now.by_fingerprint:
        return
    ended = now.ends.get(signed_by.key)
    if ended is None:
        message = f"{signed_by.signer.name}'s key was removed from {layout.SIGNERS} since"
        raise Refused(message, rule="trust-change")
    if ended.believed_to not in {commit, *before}:
        word = "compromised" if ended.compromised else "retired"
        message = f"{signed_by.signer.name}'s key is {word} since {ended.believed_to[:12]}, before this commit"
        raise Refused(message, rule="key-compromised" if ended.compromised else "trust-change")


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


def _judge(link: _Link, parent: Point, blobs: Blobs, vouch: Vouch = nobody_asks) -> tuple[Verified, Point]:
    """Judge one commit by its parent's trust."""
    name, vouched = "", frozenset[str]()
    try:
        signed_by = _signer(link, parent.trust.holders)
        name = signed_by.signer.name
        _check_changes(link.raw.changes, signed_by.signer, parent.trust.bindings, blobs)
        if signed_by.signer.forge:
            vouched = vouch(link.raw, signed_by.signer, parent.trust)
            _require_vouched(link.raw.changes, vouched, parent.trust)
        trust = _trust_after(parent.trust, link.raw, blobs, signed_by.signer)
    except Refused as refusal:
        raise _named(refusal, link.raw.id, name) from refusal
    passed = replace(_verified(link, signed_by), vouched=vouched)
    return passed, Point(link.raw.id, link.parsed.tree, trust)


def _require_vouched(changes: Sequence[Change], names: frozenset[str], trust: Trust) -> None:
    """Of those who reviewed, one of the pool may write all that it changes: their right is what it rests on."""
    people = [each for each in trust.signers if each.name in names and each.approves and not each.machine]
    if any(all(may_write(each, change.path) for change in changes) for each in people):
        return
    named = ", ".join(sorted(each.name for each in people)) or "nobody of the approvers' pool"
    raise Refused(
        f"it was reviewed by {named}, of whom nobody may write all that it changes",
        rule="squash",
        hint="somebody with `approves: true` whose `writes` have all of it must review the request before it is merged",
    )


def _signer(link: _Link, keys: Mapping[bytes, signature.Owner]) -> signature.Owner:
    if link.parsed.signature is None:
        raise Refused("it is not signed", rule="unsigned", hint=f"sign it with `git commit -S`; {_REWIND}")
    return signature.verify(link.parsed.signature, link.parsed.payload, keys)


def _verified(link: _Link, signed_by: Holder, *, skipped: tuple[str, ...] = ()) -> Verified:
    paths = tuple(change.path for change in link.raw.changes)
    return Verified(link.raw.id, signed_by.signer.name, signed_by.key, link.parsed.subject, paths, skipped)


def _check_changes(changes: Sequence[Change], signer: Signer, bindings: Sequence[Binding], blobs: Blobs) -> None:
    _check_count(changes)
    for change in changes:
        _check_file(change)
        _check_scope(change, signer)
        if layout.parse_approval(change.path) and not change.is_deletion:
            _blob(change.path, change.new_blob, blobs)
        if signer.machine and not signer.forge:
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
    if signer.forge and change.path.startswith(_TRUST):
        raise Refused(
            f"{signer.name} may not write {change.path}: a forge says nothing of who is trusted",
            rule="path-scope",
            hint="a person pushes it, signed",
        )
    if not may_write(signer, change.path) and not _is_own_approval(change, signer):
        raise Refused(
            f"{signer.name} may not write {change.path}",
            rule="path-scope",
            hint=f"{layout.SIGNERS} gives {', '.join(signer.writes) or 'nothing'}",
        )


def _is_own_approval(change: Change, signer: Signer) -> bool:
    """To approve needs no right to a path: what counts is the approval's own signature, whoever brings it."""
    found = layout.parse_approval(change.path)
    return not (found is None or signer.machine or change.is_deletion) and found[1] == signer.name


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


def _trust_after(before: Trust, raw: RawCommit, blobs: Blobs, signer: Signer | None) -> Trust:
    if not any(change.path in _TRUST_FILES for change in raw.changes):
        return before
    now = trust_of(_trust_files(before.files, raw.changes, blobs), commit=raw.id)
    for key, ended in before.ends.items():
        _require_still_ended(ended, now.ends.get(key), signer)
    return now


def _require_still_ended(before: EndedKey, now: EndedKey | None, signer: Signer | None) -> None:
    """What ended stays so, and only an approver says anew up to where it is believed."""
    if now is None or (before.compromised and not now.compromised):
        raise Refused(
            f"{layout.SIGNERS}: {before.name}'s key {signature.fingerprint(before.key)} would no longer be "
            f"{'compromised' if before.compromised else 'among those that ended'}",
            rule="trust-change",
            hint=_REWIND,
        )
    if now.believed_to != before.believed_to and signer and not (signer.approves and not signer.machine):
        raise Refused(
            f"{layout.SIGNERS}: only an approver says up to where {before.name}'s key is believed that ended",
            rule="trust-change",
            hint=f"a person with `approves: true` in {layout.SIGNERS} must sign it",
        )


def _trust_files(before: Mapping[str, bytes], changes: Sequence[Change], blobs: Blobs) -> dict[str, bytes]:
    files = dict(before)
    for change in changes:
        if change.path in _TRUST_FILES:
            files.pop(change.path, None)
            if not change.is_deletion:
                files[change.path] = _blob(change.path, change.new_blob, blobs)
    return files


def _require_believed(verified: Sequence[Verified], head: Point, places: Mapping[str, int]) -> None:
    """Every key that signed must still be a signer's at the head, or have ended there not before its commit.

    `places` is where commits stand in the line. One that is not in it is taken to be before all of them.
    """
    for each in verified:
        if each.key in head.trust.by_fingerprint:
            continue
        ended = head.trust.ends.get(each.key)
        if ended and places[each.commit] <= places.get(ended.believed_to, -1):
            continue
        if ended and ended.compromised:
            raise _compromised(each.commit, ended, seen=False)
        what = f"is retired since {ended.believed_to[:12]}" if ended else f"was removed from {layout.SIGNERS}"
        raise Refused(
            f"commit {each.commit[:12]} by {each.signer}: its key {what} at or before the head {head.commit[:12]}",
            rule="trust-change",
            hint="push again without it; or, when you have checked all that this key signed, list the key under "
            f"`ended` in {layout.SIGNERS} with the last of those commits as `retired`",
        )


def _require_current(verified: Sequence[Verified], trust: Trust, today: dt.date) -> None:
    """No key that signed is past its last day as this trust has it.

    Up to where an ended key is believed, its last day does not count: somebody has said that all of it is good.
    """
    for each in verified:
        day = trust.last_days.get(each.key)
        if day and day < today:
            raise _expired(each, day, by="")


def _require_in_time(signings: Sequence[Signing], verified: Sequence[Verified], today: dt.date) -> None:
    """No key has given itself, or had by one of its own making, more time than it had when it signed."""
    late = last_days.overdue(signings, today)
    if late is None:
        return
    named = next(each for each in verified if each.commit == late.commit)
    day = late.before.last.get(late.key)
    if day and day < today:
        raise _expired(named, day, by=" by its parent's trust, and no other key says that it is good still")
    raise Refused(
        f"commit {named.commit[:12]} by {named.signer}: its key {named.key} has its right by an expired key alone",
        rule="key-expired",
        hint=_EXPIRED,
    )


_EXPIRED = (
    "bring the branch back, then push again signed by a key that is good; what the key signed in its time stays "
    f"believed when another good key's commit lists it under `ended` in {layout.SIGNERS}, or gives it more time"
)


def _expired(commit: Verified, day: dt.date, *, by: str) -> Refused:
    return Refused(
        f"commit {commit.commit[:12]} by {commit.signer}: its key {commit.key} "
        + (f"was good until {day}{by}" if day > dt.date.min else "is revoked by its owner"),
        rule="key-expired",
        hint=_EXPIRED,
    )


def _last_day(signer: Signer, blob: bytes) -> dt.date | None:
    own = openpgp.last_day(blob) if blob.startswith(openpgp.PREFIX) else None
    return min((day for day in (signer.until, own) if day), default=None)


def _require_scopes_of_head(chain: Sequence[_Link], verified: Sequence[Verified], head: Point, blobs: Blobs) -> None:
    """Rights that were taken away since the verified head are not used below the commit that took them."""
    links = {link.raw.id: link for link in chain}
    for each in verified:
        signer, link = head.trust.by_fingerprint.get(each.key), links[each.commit]
        if signer is None:
            continue
        try:
            if each.skipped:
                _require_approver(link, signer)
            else:
                if signer.forge:
                    _require_vouched(link.raw.changes, each.vouched, head.trust)
                _check_changes(link.raw.changes, signer, head.trust.bindings, blobs)
        except Refused as refusal:
            refusal.hint = "a right that a commit takes away is not used below that commit: push again without the use"
            raise _named(refusal, each.commit, signer.name) from refusal


# recovery --------------------------------------------------------------------------------------------


def _find_recovery(chain: Sequence[_Link], refused: int, point: Point) -> int | None:
    """Where a good recovery commit stands after the refused one; `recovery` is refused when there are only bad ones."""
    wrong: Refused | None = None
    for at in range(refused + 1, len(chain)):
        if (RECOVERY, point.commit) not in trailers.pairs(chain[at].parsed.message):
            continue
        try:
            _recover(chain, refused, at, point)
        except Refused as refusal:
            wrong = refusal
        else:
            return at
    if wrong:
        raise wrong
    return None


def _recover(chain: Sequence[_Link], refused: int, at: int, point: Point) -> tuple[Verified, Point]:
    """Judge a recovery commit, which undoes the commits from `refused` on."""
    link = chain[at]
    try:
        signed_by = _signer(link, point.trust.holders)
    except Refused as refusal:
        raise _named(refusal, link.raw.id, "", rule="recovery") from refusal
    _require_approver(link, signed_by.signer)
    if link.parsed.tree != point.tree:
        raise Refused(
            f"commit {link.raw.id[:12]} by {signed_by.signer.name}: it does not restore the files of "
            f"{point.commit[:12]} exactly",
            rule="recovery",
            hint=f"make it with the tree of {point.commit}",
        )
    skipped = tuple(each.raw.id for each in chain[refused:at])
    return _verified(link, signed_by, skipped=skipped), Point(link.raw.id, link.parsed.tree, point.trust)


def _require_approver(link: _Link, signer: Signer) -> None:
    if not signer.approves or signer.machine:
        raise Refused(
            f"commit {link.raw.id[:12]} by {signer.name}: a recovery must be signed by an approver",
            rule="recovery",
            hint=f"a person with `approves: true` in {layout.SIGNERS} must sign it",
        )


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
