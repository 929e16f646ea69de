"""Whether every image that an environment would run has its proof: evidence that holds, or a pin of its own."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.cd.chain import NOTHING as UNMARKED
from interlock.cd.chain import Fault, Ground, Judged, Released, Remembered, judged, marks_of, read_remembered
from interlock.cd.cosigned import Signatures, is_signed
from interlock.cd.running import Used
from interlock.contract import evidence, layout
from interlock.contract.attesters import Attester, AttestersFile, ThirdPartyImage
from interlock.contract.canonical import canonical, digest
from interlock.contract.models import Binding, ReleasedComponent
from interlock.contract.report import counted
from interlock.contract.repository import Repository
from interlock.contract.tree import Tree
from interlock.errors import FormatError, Refused

_MOST_PASSED = 5_000
_MOST_TOLD = 20


@dataclass(frozen=True)
class Memory:
    """What this host found before. Lost, it is found anew; only marks of rescans that came to an end are not."""

    passed: tuple[str, ...] = ()
    """Keys of chains that held: of evidence, policy, day and code."""
    marked: Mapping[str, Remembered] = field(default_factory=dict)
    """By digest: what rescans found in it, whatever the newest one says."""

    def __or__(self, other: Memory) -> Memory:
        """What two runs found: none of them takes a mark away that the other has seen."""
        digests = sorted({*self.marked, *other.marked})
        marked = {each: self.marked.get(each, UNMARKED) | other.marked.get(each, UNMARKED) for each in digests}
        return Memory(tuple(dict.fromkeys((*self.passed, *other.passed))), marked)


NOTHING = Memory()


def read_memory(data: bytes) -> Memory:
    """An empty one for what cannot be read."""
    try:
        read = json.loads(data)
        marked = {str(name): read_remembered(found) for name, found in read["marked"].items()}
        return Memory(tuple(map(str, read["passed"])), marked)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def write_memory(memory: Memory) -> bytes:
    marked = {name: found.to_json() for name, found in memory.marked.items()}
    return canonical({"passed": list(memory.passed[-_MOST_PASSED:]), "marked": marked})


@dataclass(frozen=True)
class Policy:
    """What is asked of images, and when."""

    attesters: AttestersFile
    require_signatures: bool
    now: dt.datetime
    code: str


@dataclass(frozen=True)
class ImageProof:
    """One image: who would run it, what proves it, and what is broken."""

    image: str
    used: tuple[Used, ...]
    by: str
    """What vouches for it, in words; empty when nothing does."""
    faults: tuple[Fault, ...] = ()
    known: bool = False
    """Its digest has been deployed here before."""

    @property
    def blocking(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if not (each.ages and self.known))

    @property
    def ageing(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if each.ages and self.known)


@dataclass(frozen=True)
class Proven:
    """All images of an environment. `asked` is false where the repository asks for no evidence."""

    images: tuple[ImageProof, ...] = ()
    memory: Memory = field(default=Memory(), compare=False)
    asked: bool = False

    @property
    def broken(self) -> tuple[ImageProof, ...]:
        return tuple(each for each in self.images if each.blocking)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What does not keep out what runs already, and has to be mended."""
        return tuple(f"degraded: {each.image}: {fault}" for each in self.images for fault in each.ageing)

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.used[0].digest for each in self.images))


NOT_ASKED = Proven()
_UNASKED: Mapping[str, Signatures] = {}
_NONE: Mapping[str, tuple[Fault, ...]] = {}


def prove(
    used: Iterable[Used],
    repository: Repository,
    environment: str,
    *,
    policy: Policy,
    memory: Memory = NOTHING,
    known: Iterable[str] = (),
    further: Mapping[str, tuple[Fault, ...]] = _NONE,
    signatures: Mapping[str, Signatures] = _UNASKED,
) -> Proven:
    """Every image by the policy of the repository's commit. `known`: digests that were deployed here before.

    `further`: by image, what is broken besides; `signatures`: what cosign keeps beside images of others.
    """
    deployed = frozenset(known)
    released: dict[str, list[tuple[str, str, ReleasedComponent]]] = {}
    for each in _releases(repository, environment):
        released.setdefault(each[2].image, []).append(each)
    passed, marked = dict.fromkeys(memory.passed), dict(memory.marked)
    images: list[ImageProof] = []
    for image, users in _by_image(used).items():
        by, digest_ = "", users[0].digest
        faults: tuple[Fault, ...] = (_unvouched(image, environment),)
        others = [each for each in repository.images.third_party if each.names(image, environment)]
        if any(not each.keys for each in others):
            by, faults = f"pinned in {layout.IMAGES}", ()
        elif others:
            by, keys = f"signed by a key of {layout.IMAGES}", cosign_key(image, others)
            faults = () if keys in passed else _unsigned(image, others, signatures.get(image, Signatures()))
            passed |= {} if faults else {keys: None}
        elif image in released:
            by, faults = "; ".join(_told(*each) for each in released[image]), ()
            for each in released[image]:
                chain = _Chain(repository, environment, *each, policy, marked.get(digest_, UNMARKED))
                found = Judged(()) if chain.key in passed else chain.judged()
                faults += found.faults
                marked |= {digest_: chain.remembered | found.remembered} if found.remembered else {}
                passed |= {} if found.faults else {chain.key: None}
            faults = tuple(dict.fromkeys(faults))
        faults += further.get(image, ())
        images.append(ImageProof(image, users, by, faults, digest_ in deployed))
    return Proven(tuple(images), Memory(tuple(passed), marked), asked=True)


def _told(application: str, component: str, entry: ReleasedComponent) -> str:
    return f"release of {application}/{component}, {entry.source.repository} {entry.newest[:12]}"


def judged_at(tree: Tree, environment: str, application: str, component: str, image: str) -> str:
    """When CI judged a release, as its evidence says; empty when it does not."""
    path = layout.evidence(environment, application, component, image.partition("@")[2])
    try:
        proof = evidence.read_envelope(tree.files[path], path=path)
    except (KeyError, FormatError):
        return ""
    return max((str(each.get("timeVerified", "")) for each in proof.predicates(evidence.GATE_VERDICT)), default="")


Entries = Mapping[str, ReleasedComponent]
Component = tuple[str, str]
"""Application and component."""


@dataclass(frozen=True)
class Change:
    """Who changed a component's entry last, and what machines have put away since a person last changed it."""

    signer: str
    stood: tuple[tuple[str, ReleasedComponent], ...] = ()
    """With the commits that had it."""


def changers(
    before: Entries, steps: Iterable[tuple[str, str, Entries]], *, at: str, people: Collection[str]
) -> dict[str, Change]:
    """By component. `before` stood `at` this commit; `steps`: signer, commit and the entries after it, oldest first."""
    found: dict[str, Change] = {}
    for signer, commit, after in steps:
        for name, entry in after.items():
            stands = before.get(name)
            if stands == entry:
                continue
            earlier = found[name].stood if name in found else ()
            more = ((at, stands),) if stands else ()
            found[name] = Change(signer, () if signer in people else (*earlier, *more))
        before, at = after, commit
    return found


def went_back(
    repository: Repository, environment: str, *, before: Mapping[Component, str], by: Mapping[Component, Change]
) -> dict[str, tuple[Fault, ...]]:
    """By image: the releases that CI's key brought back, judged earlier than what it put away. People may.

    `before`: when CI judged the newest of what is deployed and what machines put away since.
    """
    found: dict[str, tuple[Fault, ...]] = {}
    for application, component, entry, signer in _by_machines(repository, environment, by):
        then = before.get((application, component), "")
        now = judged_at(repository.tree, environment, application, component, entry.image)
        if now < then:
            said = f"{signer} went back to what was judged at {now or 'no time'}; there was one of {then}"
            fault = Fault("release", said, "a person brings an earlier release back, by a commit")
            found[entry.image] = (*found.get(entry.image, ()), fault)
    return found


def brought(repository: Repository, environment: str, by: Mapping[Component, Change]) -> frozenset[str]:
    """The digests that CI's key has released since: known only where they run now, not by having run once."""
    return frozenset(entry.image.partition("@")[2] for _, _, entry, _ in _by_machines(repository, environment, by))


def _by_machines(
    repository: Repository, environment: str, by: Mapping[Component, Change]
) -> Iterable[tuple[str, str, ReleasedComponent, str]]:
    known = people(repository)
    for application, component, entry in _releases(repository, environment):
        change = by.get((application, component))
        if change and change.signer not in known:
            yield application, component, entry, change.signer


def people(repository: Repository) -> frozenset[str]:
    """Who is one by this commit: a machine that has been taken out of trust/ is none either."""
    return frozenset(each.name for each in repository.signers if not each.machine)


def _by_image(used: Iterable[Used]) -> dict[str, tuple[Used, ...]]:
    found: dict[str, list[Used]] = {}
    for each in used:
        found.setdefault(each.image, []).append(each)
    return {image: tuple(users) for image, users in found.items()}


def _releases(repository: Repository, environment: str) -> Iterable[tuple[str, str, ReleasedComponent]]:
    for application in repository.environments[environment].applications.values():
        for component, entry in (application.release.components if application.release else {}).items():
            yield application.name, component, entry


def cosign_key(image: str, rules: Iterable[ThirdPartyImage]) -> str:
    """Stands for an image that is signed by one of the keys that the rules name."""
    return digest(canonical(["cosign", image, sorted({key for each in rules for key in each.keys})]))


def by_signature(repository: Repository, environment: str, images: Iterable[str], memory: Memory) -> tuple[str, ...]:
    """Of these images those whose signatures have to be asked for."""
    rules = repository.images.third_party
    about = {image: [each for each in rules if each.names(image, environment)] for image in images}
    passed = frozenset(memory.passed)
    return tuple(
        image
        for image, found in about.items()
        if found and all(each.keys for each in found) and cosign_key(image, found) not in passed
    )


def _unsigned(image: str, rules: Iterable[ThirdPartyImage], signatures: Signatures) -> tuple[Fault, ...]:
    keys = [key for each in rules for key in each.keys]
    if signatures.why:
        said = f"it is not known whether it is signed: {signatures.why}"
        return (Fault("signature", said, "it is looked up again by the next run", ages=True),)
    if is_signed(signatures.found, image, keys):
        return ()
    said = f"no key that {layout.IMAGES} names for it has signed it"
    return (Fault("signature", said, "sign it with cosign, or let a person pin its digest"),)


def _unvouched(image: str, environment: str) -> Fault:
    """Of an image that neither a release nor a pin names."""
    if "@sha256:" not in image:
        return Fault("image", "it is not given by its digest", "write registry/repository@sha256:…")
    fix = f"release it through CI, or let a person pin this digest in {layout.IMAGES}"
    return Fault("image", f"nothing is released as this in {environment}, and no one has pinned it", fix)


@dataclass(frozen=True)
class _Chain:
    repository: Repository
    environment: str
    application: str
    component: str
    entry: ReleasedComponent
    policy: Policy
    remembered: Remembered

    @property
    def binding(self) -> Binding:
        """The reader let no release pass without one."""
        return next(
            each
            for each in self.repository.bindings
            if (each.application, each.component) == (self.application, self.component)
            and self.environment in each.environments
        )

    @property
    def attester(self) -> Attester | None:
        return self.policy.attesters.of(self.binding.source)

    @property
    def ground(self) -> Ground:
        gate = self.repository.gate
        return Ground(
            attester=self.attester,
            rules=gate.environments.get(self.environment, gate.rules),
            waivers=self.repository.waivers,
            now=self.policy.now,
            require_signatures=self.policy.require_signatures,
        )

    @property
    def rescans(self) -> Sequence[str]:
        files = self.repository.tree.files
        return [each for each in marks_of(self.repository.bindings, self.entry.image) if each in files]

    @property
    def key(self) -> str:
        """Stands for everything that the judgement rests on; days count, and hours where policy counts them."""
        ground, files = self.ground, self.repository.tree.files
        moment = "%Y-%m-%d %H" if ground.rules.verdict_hours else "%Y-%m-%d"
        parts = [
            self.policy.code,
            f"{ground.now:{moment}}",
            self.environment,
            self.application,
            self.component,
            self.entry.model_dump(mode="json"),
            self.binding.model_dump(mode="json"),
            ground.attester.model_dump(mode="json") if ground.attester else None,
            ground.require_signatures,
            ground.rules.model_dump(mode="json"),
            [each.model_dump(mode="json") for each in ground.waivers],
            [digest(files[path]) for path in self.rescans],
            self.remembered.to_json(),
        ]
        return digest(canonical(parts))

    def judged(self) -> Judged:
        files = self.repository.tree.files
        path = layout.evidence(self.environment, self.application, self.component, self.entry.image.partition("@")[2])
        released = Released(
            environment=self.environment,
            application=self.application,
            component=self.component,
            entry=self.entry,
            binding=self.binding,
            proof=evidence.read_envelope(files[path], path=path),
            rescans=tuple(evidence.read_envelope(files[each], path=each) for each in self.rescans),
            remembered=self.remembered,
        )
        return judged(released, self.ground)


def require_proven(proven: Proven, *, environment: str, commit: str) -> None:
    """Refused, with every broken link of every image, and what to do about it."""
    if not proven.broken:
        return
    lines = [
        f"  - {each.image} ({each.used[0].where}{_more(each)}): {fault}"
        for each in proven.broken
        for fault in each.blocking
    ]
    told = "\n".join(lines[:_MOST_TOLD])
    more = f"\n  - and {len(lines) - _MOST_TOLD} more" if len(lines) > _MOST_TOLD else ""
    what = counted(len(proven.broken), "image has no proof that holds", "images have no proof that holds")
    raise Refused(
        f"{commit[:12]}: {environment}: {what}:\n{told}{more}",
        rule="evidence",
        hint="nothing of it was written; push a commit that mends what is named",
    )


def _more(proof: ImageProof) -> str:
    return f", and {counted(len(proof.used) - 1, 'more place')}" if len(proof.used) > 1 else ""
