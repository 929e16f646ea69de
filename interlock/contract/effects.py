"""What an environment reads: the files, and the parts of policy and trust, that decide what becomes of it.

By bytes and not by what they are rendered to, so that every version of Interlock comes to the same digest. Approvals
are not among them: to give one changes nothing of what it is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from interlock.contract import commit as commits
from interlock.contract import layout, strict_yaml, trailers
from interlock.contract.canonical import canonical, digest
from interlock.contract.commit import RawCommit
from interlock.contract.tree import Tree
from interlock.contract.verification import RECOVERY
from interlock.errors import FormatError

Reads = Mapping[str, str]
"""Digests by path, or by the name of a part of a file."""
MOST_TREES = 200
"""Of how many commits of a range the files are looked at; of more, each that touches a file counts as a change."""
_WHOLE = (layout.ENVIRONMENTS, layout.RULES, layout.HEALTH, layout.WAIVERS, layout.IMAGES, layout.ATTESTERS)
_PLACES = ("applications/", "templates/", "policy/", "trust/", layout.ENVIRONMENTS)


class History(Protocol):
    """A repository's commits, wherever they lie."""

    def tree(self, commit: str) -> Tree:
        """All files of a commit."""
        ...

    def tree_id(self, commit: str) -> str:
        """Git's name for all of them."""
        ...

    def commits(self, old: str | None, new: str) -> Sequence[RawCommit]:
        """Those after `old` up to `new`, oldest first; from the first one on without `old`."""
        ...

    def descends(self, old: str, new: str) -> bool:
        """Whether `new` is `old` or came after it; False too when one of them is not known."""
        ...

    def refuses(self, commit: RawCommit) -> bool:
        """Whether verification refuses the commit, by the trust of its parent."""
        ...


def concerns(path: str) -> bool:
    """Whether any environment may read the file, or an approval lies in it."""
    return path.startswith((*_PLACES, "environments/", "approvals/")) and not _is_evidence(path)


def reads(tree: Tree, environment: str) -> Reads:
    """FormatError when a file cannot be read that says which others there are."""
    files = {path: digest(tree.files[path]) for path in _paths(tree, environment)}
    return dict(
        sorted({**files, **{name: digest(canonical(value)) for name, value in _parts(tree, environment)}}.items())
    )


def text(tree: Tree, environment: str, name: str) -> str:
    """What one of the reads says, for people; empty where the commit has none of that name."""
    if name in tree.files:
        return tree.files[name].decode(errors="replace")
    value = dict(_parts(tree, environment)).get(name)
    return "" if value is None else strict_yaml.dump({"is": value})


def digest_of(found: Reads) -> str:
    return digest(canonical(dict(found)))


def differing(before: Reads, after: Reads) -> tuple[str, ...]:
    """What was added, changed or removed."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _paths(tree: Tree, environment: str) -> Iterator[str]:
    own = [path for path in tree.under(f"environments/{environment}") if not _is_evidence(path)]
    yield from own
    yield from (path for path in _WHOLE if path in tree.files)
    sets = set[str]()
    for name in sorted({path.split("/")[2] for path in own if path.count("/") > 2}):
        yield from tree.under(f"applications/{name}")
        sets |= _template(tree, layout.application(name))
    for name in sorted(sets):
        folder = tree.under(layout.templates(name))
        yield from (path for path in folder if path.endswith(".j2") or path == layout.values_schema(name))


def _is_evidence(path: str) -> bool:
    """A release names its evidence's digest; a rescan says something of what is deployed already."""
    return bool(layout.parse_evidence(path) or layout.parse_rescan(path))


def _template(tree: Tree, path: str) -> set[str]:
    found = _value(tree, path).get("template")
    return {found} if isinstance(found, str) else set()


def _parts(tree: Tree, environment: str) -> Iterator[tuple[str, object]]:
    gate = _value(tree, layout.GATE)
    own = _mapping(gate.get("environments")).get(environment)
    yield f"{layout.GATE}: rules for {environment}", own if own is not None else gate.get("rules")
    trust = _value(tree, layout.SIGNERS)
    rule = _mapping(trust.get("approvals")).get(environment)
    signers = [each for each in _sequence(trust.get("signers")) if isinstance(each, dict)]
    bindings = [
        each
        for each in _sequence(_value(tree, layout.BINDINGS).get("bindings"))
        if isinstance(each, dict) and environment in _sequence(each.get("environments"))
    ]
    named = {each.get("signer") for each in bindings}
    if rule is not None:
        chosen = _sequence(_mapping(rule).get("approvers")) or [
            each.get("name") for each in signers if each.get("approves")
        ]
        named |= {*chosen, *_sequence(_mapping(rule).get("signers"))}
        yield f"{layout.SIGNERS}: approvals for {environment}", rule
    for each in signers:
        if each.get("name") in named or (rule is not None and _may_change(each, environment)):
            yield f"{layout.SIGNERS}: {each.get('name')}", each
    if bindings:
        yield f"{layout.BINDINGS}: {environment}", bindings


def _may_change(signer: Mapping[str, Any], environment: str) -> bool:
    """Whether a person may write anything that the environment reads, or could: a machine writes what it is bound to.

    Where people approve, it is part of what they agree to: else an approver lets in somebody whose changes are then
    not the approver's own.
    """
    literal = [re.split(r"[*?]", str(glob), maxsplit=1)[0] for glob in _sequence(signer.get("writes"))]
    writes_itself = not signer.get("machine") or signer.get("forge")
    return bool(writes_itself) and any(
        place.startswith(begin) or begin.startswith(place) for place in _places(environment) for begin in literal
    )


def _places(environment: str) -> tuple[str, ...]:
    return (f"environments/{environment}/", *_PLACES)


def _value(tree: Tree, path: str) -> Mapping[str, Any]:
    """A file's mapping; empty when there is none."""
    return _mapping(strict_yaml.load(tree.text(path), path=path).value) if path in tree.files else {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


# ranges ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A commit that changes what an environment reads."""

    commit: RawCommit
    parsed: commits.Parsed


def changes(history: History, environment: str, *, old: str | None, new: str) -> tuple[Change, ...]:
    """Which commits after `old` change what the environment reads, also where a later one undoes it.

    What a recovery commit takes back has never counted for anything, and does not here.
    """
    chain = _without_recovered(
        [Change(raw, commits.parse(raw.data)) for raw in history.commits(old, new)], history, old
    )
    touching = [each for each in chain if touches(each.commit, environment)]
    if old is None or len(touching) > MOST_TREES:
        return tuple(touching)
    found: list[Change] = []
    before = _digest(history, old, environment)
    for each in touching:
        after = _digest(history, each.commit.id, environment)
        if after is None or after != before:
            found.append(each)
        before = after
    return tuple(found)


def trust_changes(history: History, *, since: str | None, new: str) -> tuple[str, ...]:
    """`since`, and the commits after it that change who may sign or agree; without what recoveries took back."""
    chain = _without_recovered(
        [Change(raw, commits.parse(raw.data)) for raw in history.commits(since, new)], history, since
    )
    found = [each.commit.id for each in chain if any(one.path == layout.SIGNERS for one in each.commit.changes)]
    return (*([since] if since else []), *found)


def _digest(history: History, commit: str, environment: str) -> str | None:
    """None for a commit that cannot be read: it counts as a change, and so does the next one."""
    try:
        return digest_of(reads(history.tree(commit), environment))
    except FormatError:
        return None


def touches(commit: RawCommit, environment: str) -> bool:
    """Whether a commit changes a file that the environment may read."""
    return any(change.path.startswith(_places(environment)) for change in commit.changes)


def _without_recovered(chain: list[Change], history: History, old: str | None) -> list[Change]:
    """Without the commits that a later one takes back to the same files, by the trailer of a recovery.

    Only past a commit that is refused does verification let one pass as a recovery. Anybody's other commit that says so
    is a commit like all: else it would take away a rule that has held.
    """
    left: list[Change] = []
    for each in chain:
        named = [value for key, value in trailers.pairs(each.parsed.message) if key == RECOVERY]
        at = next((index for index, one in enumerate(left) if one.commit.id in named), -1 if old in named else None)
        restored = at is not None and each.parsed.tree == (
            left[at].parsed.tree if at >= 0 else history.tree_id(old or "")
        )
        if at is not None and restored and left[at + 1 :] and history.refuses(left[at + 1].commit):
            del left[at + 1 :]
        else:
            left.append(each)
    return left


def named(change: Change, people: Iterable[str], fingerprints: Mapping[str, str]) -> frozenset[str]:
    """Which of the people a commit says that its authors are, or for a release those of its source's commits.

    It proves nothing, and can only take a voice away. `fingerprints` says whose each key is.
    """
    known = {name.casefold(): name for name in people}
    pairs = trailers.pairs(change.parsed.message)
    coauthors = (value for key, value in pairs if key.lower() == trailers.AUTHOR.lower())
    keys = {value for key, value in pairs if key == trailers.SOURCE_KEY}
    found = map(commits.person, (commits.author(change.commit.data), *coauthors))
    words = (word for name, address in found for word in (name, address, address.partition("@")[0]))
    by_name = (known[word.casefold()] for word in words if word.casefold() in known)
    return frozenset((*by_name, *(fingerprints[key] for key in keys & fingerprints.keys())))
