"""A release that people merge: the branch it lies on, and what its pull request says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.ci.forge import MAX_TEXT, PullRequest
from interlock.ci.targets import Proven, Target
from interlock.contract import layout, release, strict_yaml
from interlock.contract.forge import shortened
from interlock.contract.manifest import Identity
from interlock.contract.models import ReleasedComponent
from interlock.contract.render import Rendered
from interlock.contract.report import cell
from interlock.contract.repository import Repository
from interlock.contract.secret_text import MASK
from interlock.contract.trailers import Trailers
from interlock.contract.tree import Tree
from interlock.errors import FormatError

_MARK = re.compile(r"<!-- interlock-commit: ([0-9a-f]{40}) -->")
BRANCHES = "interlock/"
"""What the names of all branches of releases begin with."""
_DIFF = 20_000
"""How much of one environment's difference a pull request shows, in characters."""


@dataclass(frozen=True)
class Proposal:
    """What the pull request is to be."""

    branch: str
    base: str
    commit: str
    """The source commit."""
    title: str
    body: str


def by_pull_request(repository: Repository, environment: str) -> bool:
    return repository.environments[environment].file.promotion == "pull-request"


def branch_of(source: str, component: str, bound: Iterable[Target], repository: Repository) -> str:
    """One for a component of a source repository and the environments that people merge for.

    By its bindings, and not by what the gate opens today: a newer release finds the branch of the one before.
    """
    names = sorted({each.environment for each in bound if by_pull_request(repository, each.environment)})
    return f"{_branches(source, component)}{'_'.join(names)}"


def is_branch_of(branch: str, source: str, component: str) -> bool:
    """Whether it could be one of this component's."""
    return branch.startswith(_branches(source, component))


def _branches(source: str, component: str) -> str:
    return f"{BRANCHES}{source.replace('/', '_')}/{component}/"


def with_changes(tree: Tree, changes: Mapping[str, bytes | None], *, commit: str) -> Tree:
    """The tree after a commit with these changes."""
    files = {**tree.files, **changes}
    return Tree.of({path: content for path, content in files.items() if content is not None}, commit=commit)


def already_proposed(
    texts: Mapping[str, bytes], proposed: Iterable[Target], *, image: str, commit: str, repository: str
) -> bool:
    """Whether these release files have all the entries: the branch is what a killed run left, and can stay."""
    for each in proposed:
        entry = _entry(texts.get(layout.release(each.environment, each.application)), each.component)
        if entry is None or entry.image != image:
            return False
        if (entry.source.repository, entry.newest) != (repository, commit):
            return False
    return True


def _entry(text: bytes | None, component: str) -> ReleasedComponent | None:
    try:
        return release.read(text.decode()).components.get(component) if text is not None else None
    except (FormatError, UnicodeDecodeError):
        return None  # somebody else wrote on the branch


def open_of(found: Iterable[PullRequest]) -> PullRequest | None:
    return next((each for each in found if each.state == "open"), None)


def answered(found: Iterable[PullRequest], commit: str) -> PullRequest | None:
    """The pull request of this very source commit that people closed or merged: they are not asked again."""
    return next((each for each in found if each.state != "open" and proposes(each, commit)), None)


def proposes(each: PullRequest, commit: str) -> bool:
    """Whether it is open, or was closed by people, for this source commit."""
    mark = _MARK.match(each.body)
    return mark is not None and mark[1] == commit


@dataclass(frozen=True)
class LeftBehind:
    """A release on a branch whose parent is not the environment repository's newest commit any more."""

    branch: str
    subject: str
    trailers: Trailers
    files: Mapping[str, bytes]
    """What it writes."""
    before: Mapping[str, bytes]
    """Those of them that its parent has."""


def carried(left: LeftBehind, now: Iterable[Target]) -> tuple[ReleasedComponent, tuple[Proven, ...]] | None:
    """What of it is still to be released, to be put on top of the newest commit as it is.

    None when nothing is, or when somebody has released something else there meanwhile: that is for a run to judge.
    """
    component, proven = left.trailers.component, list[Proven]()
    wanted: ReleasedComponent | None = None
    for target in now:
        path = layout.release(target.environment, target.application)
        entry = _entry(left.files.get(path), component)
        if target.component != component or entry is None or entry == target.released:
            continue
        if target.released != _entry(left.before.get(path), component):
            return None
        digits = entry.image.partition("@")[2]
        proof = left.files.get(layout.evidence(target.environment, target.application, component, digits))
        if proof is None or (
            wanted and (wanted.image, wanted.source, wanted.head) != (entry.image, entry.source, entry.head)
        ):
            return None
        wanted = entry
        proven.append(Proven(target, proof))
    return (wanted, tuple(proven)) if wanted else None


# the text --------------------------------------------------------------------------------------------


def title_of(component: str, commit: str, environments: Sequence[str]) -> str:
    return f"Release {component} {commit[:12]} to {', '.join(environments)}"


def body_of(
    *,
    component: str,
    image: str,
    repository: str,
    commit: str,
    branch: str,
    base: str,
    run: str,
    tests: str,
    findings: str,
    differences: Mapping[str, str],
) -> str:
    """Markdown. What comes from elsewhere is escaped, or fenced by more than it has itself."""
    facts = [
        f"- image: `{image}`",
        f"- source: {cell(repository)} `{commit}`",
        f"- tests: {cell(tests)}",
        *([f"- run: {run}"] if run else []),
    ]
    return shortened(
        "\n\n".join(
            (
                f"<!-- interlock-commit: {commit} -->\nInterlock proposes this release of {component}.",
                "\n".join(facts),
                _HOW.format(branch=branch, base=base),
                *(f"## What changes in {name}\n\n{text}" for name, text in differences.items()),
                f"## Findings\n\n{findings}",
            )
        ),
        MAX_TEXT,
    )


_HOW = """\
**Merge it by fast-forward only**: CI signed its commit, and CD takes no other.
A merge commit, a squash or a rebase on the forge makes a commit that CD refuses.
By hand: `git fetch && git push origin origin/{branch}:{base}`.
To decline it, close it; a newer release opens another."""


def differences(before: Rendered, after: Rendered, *, application: str) -> str:
    """One environment's objects of an application before and after, as a unified diff, a Secret's values masked."""
    old, new = _by_name(before, application), _by_name(after, application)
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        was, is_ = old.get(name), new.get(name)
        if was != is_:
            lines += _difference(name, was, is_)
    if not lines:
        return "Nothing."
    text = "\n".join(lines)
    if len(text) > _DIFF:
        text = text[:_DIFF].rpartition("\n")[0] + "\n… and more: `interlock render` shows all of it"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}diff\n{text}\n{fence}"


def _by_name(rendered: Rendered, application: str) -> dict[str, dict[str, Any]]:
    own = [each for each in rendered.manifests if each.application == application]
    return {_name(each.identity): each.body for each in own}


def _name(identity: Identity) -> str:
    kind = f"{identity.kind}.{identity.group}" if identity.group else identity.kind
    return f"{kind} {f'{identity.namespace}/' if identity.namespace else ''}{identity.name}"


def _difference(name: str, was: dict[str, Any] | None, is_: dict[str, Any] | None) -> Iterable[str]:
    old, new = _masked(was, is_), _masked(is_, was)
    before = strict_yaml.dump(old).splitlines() if old is not None else []
    after = strict_yaml.dump(new).splitlines() if new is not None else []
    return difflib.unified_diff(
        before,
        after,
        f"{name}" if old is not None else "nothing",
        f"{name}" if new is not None else "nothing",
        n=2,
        lineterm="",
    )


def _masked(body: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without a Secret's values; of each only whether it is the other's."""
    if body is None or body.get("kind") != "Secret":
        return body
    masked = {name: value for name, value in body.items() if name not in ("data", "stringData")}
    for field in ("data", "stringData"):
        values, others = body.get(field) or {}, (other or {}).get(field) or {}
        if isinstance(values, dict) and values:
            masked[field] = {
                key: MASK if key in others and others[key] == value else f"{MASK} ({_which(other, others, key)})"
                for key, value in values.items()
            }
    annotations = masked.get("metadata", {}).get("annotations")
    if annotations:
        masked["metadata"] = {**masked["metadata"], "annotations": dict.fromkeys(annotations, MASK)}
    return masked


def _which(other: dict[str, Any] | None, others: Mapping[str, Any], key: str) -> str:
    return "another value" if other is not None and key in others else "only here"
