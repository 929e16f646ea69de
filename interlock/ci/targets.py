"""Where a source repository's components may be released, what stands there now, and what a release changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Literal

from interlock.contract import layout, release
from interlock.contract.canonical import digest
from interlock.contract.finding import Scan
from interlock.contract.manifest import Manifest
from interlock.contract.models import ApplicationRepositoryFile, ReleasedComponent, Source
from interlock.contract.render import Rendered, unreleased, version
from interlock.contract.repository import Repository
from interlock.contract.tree import Tree
from interlock.errors import InputError, InterlockError, Refused, Superseded, Unbound

Relation = Literal["same", "older", "newer", "diverged"]
"""How the commit that a release names relates to the one that is about to be released."""


@dataclass(frozen=True)
class Target:
    """One environment that a binding gives a component, and what is released there."""

    environment: str
    application: str
    component: str
    image: str
    """The image's repository, registry included."""
    released: ReleasedComponent | None


def absent(repository: Repository, *, source: str, signer: str) -> tuple[str, ...]:
    """The folders that would have to be there for what is bound and has no target."""
    return tuple(
        f"{layout.folder(environment, binding.application)}/"
        for binding in repository.bindings
        if binding.source == source and binding.signer == signer
        for environment in binding.environments
        if binding.application not in repository.environments[environment].applications
    )


def targets(repository: Repository, *, source: str | None, signer: str | None) -> tuple[Target, ...]:
    """What the bindings give this source repository and this CI host's signer, where the application is there.

    None stands for any. A binding allows; whether an environment has an application is said by its folder, which only
    people make or remove.
    """
    return tuple(
        Target(
            environment=environment,
            application=binding.application,
            component=binding.component,
            image=binding.image,
            released=_released(repository.tree, environment, binding.application, binding.component),
        )
        for binding in repository.bindings
        if source in (None, binding.source) and signer in (None, binding.signer)
        for environment in binding.environments
        if binding.application in repository.environments[environment].applications
    )


def require_bound(
    file: ApplicationRepositoryFile, bound: Iterable[Target], *, source: str, signer: str
) -> dict[str, tuple[Target, ...]]:
    """The targets of each component that is described and bound.

    InputError when none is, or when a binding is about a component that interlock.yaml does not describe.
    """
    by_component: dict[str, tuple[Target, ...]] = {}
    for target in narrowed(file, bound):
        by_component[target.component] = (*by_component.get(target.component, ()), target)
    if unknown := sorted(by_component.keys() - file.components.keys()):
        raise InputError(
            f"{source}: {layout.APPLICATION_REPOSITORY} describes no component {', '.join(unknown)}",
            hint=f"{layout.BINDINGS} of the environment repository binds it: add it here, or remove it there",
        )
    if not by_component:
        raise nowhere(source, signer)
    return by_component


def narrowed(file: ApplicationRepositoryFile, bound: Iterable[Target]) -> tuple[Target, ...]:
    """The targets that interlock.yaml wants. InputError when it names an environment that no binding gives."""
    given = tuple(bound)
    for name, component in file.components.items():
        allowed = {each.environment for each in given if each.component == name}
        if strange := sorted(set(component.environments or ()) - allowed):
            raise InputError(
                f"{layout.APPLICATION_REPOSITORY}: {name} names the environment {strange[0]}, which it is not given",
                hint=f"it may name {', '.join(sorted(allowed)) or 'none'}: {layout.BINDINGS} of the environment "
                "repository gives environments, where the application has a folder",
            )
    wanted = {name: each.environments for name, each in file.components.items()}
    return tuple(each for each in given if _is_wanted(each, wanted.get(each.component)))


def _is_wanted(target: Target, environments: tuple[str, ...] | None) -> bool:
    return environments is None or target.environment in environments


def nowhere(source: str, signer: str) -> Unbound:
    """The error of a repository that may be released to no environment."""
    return Unbound(
        f"{source}: no environment has an application that a binding gives to its components and the signer {signer}",
        hint=f"see {layout.BINDINGS} of the environment repository, and {layout.folder('<env>', '<application>')}/ "
        "of the applications that it names: `interlock bind` writes both",
    )


def released_commits(bound: Iterable[Target], source: str) -> list[str]:
    """The commits of a source repository that are released somewhere."""
    standing = (each.released for each in bound if each.released)
    return sorted({each.newest for each in standing if each.source.repository == source})


def open_targets(
    candidates: Iterable[Target], *, source: str, commit: str, relations: Mapping[str, Relation]
) -> tuple[Target, ...]:
    """The targets where this commit is not released yet.

    Superseded when a newer one is released somewhere, Refused when the branch's history was replaced since.
    `relations` has every released commit.
    """
    wanted = []
    for target in candidates:
        relation = _relation(target, source, relations)
        if relation == "newer":
            raise Superseded(f"{source} {commit[:12]}: {_standing(target)} is newer; nothing to do")
        if relation == "diverged":
            raise Refused(
                f"{source} {commit[:12]} does not descend from {_standing(target)}",
                rule="diverged",
                hint="the branch's history was replaced: bring the released commit back into it",
            )
        if relation != "same":
            wanted.append(target)
    return tuple(wanted)


def _relation(target: Target, source: str, relations: Mapping[str, Relation]) -> Relation:
    """Another repository's release, or none, counts as older."""
    if target.released is None or target.released.source.repository != source:
        return "older"
    return relations[target.released.newest]


def _standing(target: Target) -> str:
    commit = target.released.newest[:12] if target.released else "nothing"
    return f"{commit}, which is released to {target.environment},"


def _released(tree: Tree, environment: str, application: str, component: str) -> ReleasedComponent | None:
    return release.read(_text(tree, layout.release(environment, application))).components.get(component)


def _text(tree: Tree, path: str) -> str | None:
    return tree.text(path) if path in tree.files else None


def manifest_files(environments: Iterable[Rendered], bound: Iterable[Target]) -> dict[str, bytes]:
    """What the bound applications' manifests look like, as files to scan: `<environment>/<object>.yaml`.

    InputError when an application is in none of an environment's folders: nothing of it could be scanned.
    """
    rendered = {each.environment: each for each in environments}
    files: dict[str, bytes] = {}
    for target in bound:
        own = [each for each in rendered[target.environment].manifests if each.application == target.application]
        if not own:
            path = layout.folder(target.environment, target.application)
            raise InputError(
                f"{target.application} renders nothing in {target.environment}, so nothing of it can be released there",
                hint=f"add {path}/values.yaml, or manifests below {path}/manifests/",
            )
        for manifest in own:
            files[_free_name(f"{target.environment}/{_file_name(manifest)}", manifest.canonical, files)] = (
                manifest.canonical
            )
    return files


def without_releases(
    files: Mapping[str, bytes], repository: Repository, bound: Iterable[Target], *, placeholder: str
) -> dict[str, bytes]:
    """The files with names in place of what releases say of images and commits: what other releases leave the same.

    The names begin with a byte that stands in no JSON, so no manifest can hold one itself. `placeholder` is what they
    were rendered with.
    """
    words = dict(chain.from_iterable(_released_words(repository, target, placeholder) for target in bound))
    longest = sorted(words.items(), key=lambda each: len(each[0]), reverse=True)
    return {path: _replaced(content, longest) for path, content in files.items()}


def _released_words(repository: Repository, target: Target, placeholder: str) -> Iterator[tuple[str, str]]:
    """What a template may have put into a manifest for an application's components, and what it is.

    Not whose it is: components of one commit share its name.
    """
    application = repository.environments[target.environment].applications[target.application]
    standing = application.release.components if application.release else {}
    for image, commit in (
        *((each.image, each.source.commit) for each in standing.values()),
        *(unreleased(name, placeholder) for name in application.awaiting),
    ):
        yield from ((image, "\0image"), (commit, "\0commit"), (version(commit), "\0version"))


def _replaced(content: bytes, words: Iterable[tuple[str, str]]) -> bytes:
    for word, name in words:
        content = content.replace(word.encode(), name.encode())
    return content


def _file_name(manifest: Manifest) -> str:
    identity = manifest.identity
    parts = (identity.kind, identity.group.partition(".")[0], identity.namespace, identity.name)
    return ".".join(part for part in parts if part).lower().replace("/", "_")


def _free_name(stem: str, content: bytes, files: Mapping[str, bytes]) -> str:
    """A name that no other object has: one that took another's place would keep it from being scanned."""
    names = chain((f"{stem}.yaml",), (f"{stem}.{number}.yaml" for number in count(2)))
    return next(name for name in names if files.get(name, content) == content)


def of_environment(scan: Scan, environment: str) -> Scan:
    """A scan of several environments' manifests, cut down to what it says about one."""
    if scan.subject != "manifests":
        return scan
    return replace(scan, findings=tuple(f for f in scan.findings if f.target.startswith(f"{environment}/")))


@dataclass(frozen=True)
class Proven:
    """A target that the gate let pass, and the bytes of its evidence."""

    target: Target
    evidence: bytes


def changes(
    tree: Tree, proven: Iterable[Proven], *, image: str, source: Source, head: str = ""
) -> dict[str, bytes | None]:
    """The files of a release commit: entry and evidence of each target; evidence of what it replaces goes.

    `head` is the commit that releases the image, where another one built it.
    """
    changed: dict[str, bytes | None] = {}
    for each in proven:
        target = each.target
        entry = ReleasedComponent(image=image, source=source, evidence=digest(each.evidence), head=head or None)
        path = layout.release(target.environment, target.application)
        text = release.with_component(_text(tree, path), target.component, entry)
        for old in (_evidence(target, target.released.image), rescan(target)) if target.released else ():
            if old in tree.files:
                changed[old] = None
        changed[path] = text.encode()
        changed[_evidence(target, image)] = each.evidence
    return changed


def _evidence(target: Target, image: str) -> str:
    return layout.evidence(target.environment, target.application, target.component, image.partition("@")[2])


def rescan(target: Target) -> str:
    """Where the last rescan of what is released stands. ValueError when nothing is released."""
    if target.released is None:
        raise ValueError(f"{target.component} is not released to {target.environment}")
    image_digest = target.released.image.partition("@")[2]
    return layout.rescan(target.environment, target.application, target.component, image_digest)


@dataclass(frozen=True)
class Released:
    """A component, the image that was released, and where; `blocked` has the environments that the gate closed."""

    component: str
    image: str
    environments: tuple[str, ...]
    commit: str
    """Of the environment repository; empty when nothing had to be written."""
    blocked: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    proposed: tuple[str, ...] = ()
    """The environments for which people have to merge it."""
    pull_request: str = ""
    """Where; empty when there is none."""
    built: str = ""
    """The commit that an earlier run built the image from; empty when this run built it."""
    failure: InterlockError | None = field(default=None, compare=False)
    """Why nothing of it was released by this run."""

    @property
    def said(self) -> str:
        """In one line."""
        if self.failure:
            why = self.failure.message.splitlines()[0]
            # The gate's own words begin with the component and say it already.
            return why if why.startswith(f"{self.component} ") else f"{self.component} is not released: {why}"
        places = [f"released to {', '.join(self.environments)}{'' if self.commit else ' already'}"]
        places = places if self.environments else []
        places += [f"proposed to {', '.join(self.proposed)}"] if self.proposed else []
        return f"{self.component} is {', '.join(places) or 'released nowhere'}"


def already(bound: Sequence[Target]) -> Released:
    """What stands there already."""
    entries = [each.released for each in bound if each.released]
    return Released(
        component=bound[0].component if bound else "",
        image=entries[0].image if entries else "",
        environments=tuple(each.environment for each in bound),
        commit="",
        built=entries[0].source.commit if entries else "",
    )
