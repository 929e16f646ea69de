"""trust/attesters.yaml and policy/images.yaml: whose word about an image counts, and which images need none.

Where the first file is, CD asks of every image that it would run that its evidence is signed by a key named there, or
that the second file pins it. Both come from the verified commit: people sign what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from interlock.contract import dsse, layout, strict_yaml
from interlock.contract.build_sources import full_name, repository_of
from interlock.contract.host import Branch
from interlock.contract.models import (
    Binding,
    Digest,
    FieldPath,
    File,
    KindName,
    Model,
    Name,
    PodPlace,
    PublicKey,
    Reason,
    RepositoryName,
)
from interlock.contract.tree import Tree
from interlock.errors import FormatError


def _attestation_key(text: str) -> str:
    try:
        dsse.fingerprint(text)
    except FormatError as error:
        raise ValueError(
            f"{error.problem}: give what `interlock register signed` wrote beside the key, in .pub"
        ) from None
    return text


AttestationKey = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_attestation_key)]
"""The public half, ECDSA P-256, as PEM."""


class Attester(Model):
    """Whose signature evidence about the images of one source repository must have."""

    source: RepositoryName
    keys: tuple[AttestationKey, ...] = ()
    """Any one of them. A key that is taken out is trusted no more, whatever it signed before."""
    branch: Branch | None = None
    """The protected branch that the evidence must name. None: whichever the signer holds commits to."""
    commit_keys: tuple[PublicKey, ...] = ()
    """Keys one of which must have signed the commit that is released, and the one that was built. Empty: any commit."""
    unsigned: Reason | None = None
    """Why nobody signs: then the release commit's signature stands alone."""

    @model_validator(mode="after")
    def keys_or_a_reason(self) -> Self:
        if bool(self.keys) == bool(self.unsigned):
            raise ValueError("give either keys, or `unsigned` with the reason why nobody signs")
        return self


class AttestersFile(File):
    """trust/attesters.yaml"""

    attesters: tuple[Attester, ...] = ()

    def of(self, source: str) -> Attester | None:
        return next((each for each in self.attesters if each.source == source), None)


ImagePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*][a-z0-9._/:*-]*$", max_length=300)]
"""An image's repository with its registry, in which `*` stands for anything: `docker.io/library/*`."""


class ThirdPartyImage(Model):
    """Images that others made and that may run as they are: just these digests, or what these keys have signed.

    With both, both must hold.
    """

    image: ImagePattern
    digests: tuple[Digest, ...] = Field(default=(), max_length=1000)
    keys: tuple[AttestationKey, ...] = ()
    """Cosign's, one of which must have signed the image, as its registry says under cosign's tag for signatures."""
    environments: tuple[Name, ...] = ()
    """Empty for all."""
    reason: Reason

    @model_validator(mode="after")
    def digests_or_keys(self) -> Self:
        if not self.digests and not self.keys:
            raise ValueError("give the digests that may run, or the keys that sign")
        return self

    def names(self, image: str, environment: str) -> bool:
        """Whether it is about an image there, registry/repository@sha256:…; keys are asked apart."""
        name, _, found = image.partition("@")
        if self.environments and environment not in self.environments:
            return False
        pinned = not self.digests or found in self.digests
        return bool(found) and pinned and fnmatchcase(repository_of(full_name(name)), self.image)


class ImagePlace(PodPlace):
    """Where a kind names an image that does not stand in a list of containers, such as `spec.imageName`."""

    kind: KindName
    """With its group, but for the core's: `Rollout.argoproj.io`, `Deployment.apps`, `Pod`."""
    path: FieldPath


class ImagesFile(File):
    """policy/images.yaml"""

    third_party: tuple[ThirdPartyImage, ...] = Field(default=(), max_length=1000)
    places: tuple[ImagePlace, ...] = Field(default=(), max_length=100)


NO_IMAGES = ImagesFile(format=1)


def read_attesters(tree: Tree, bindings: Iterable[Binding] | None = None) -> AttestersFile | None:
    """None when the file is missing. With `bindings` every source that they name must have an entry."""
    if layout.ATTESTERS not in tree.files:
        return None
    document = strict_yaml.load(tree.text(layout.ATTESTERS), path=layout.ATTESTERS)
    file = strict_yaml.validate(document, AttestersFile)
    seen: set[str] = set()
    for index, each in enumerate(file.attesters):
        if each.source in seen:
            hint = "join the two: an entry may have several keys"
            raise document.error(f"{each.source} is here twice", ("attesters", index, "source"), hint=hint)
        seen.add(each.source)
    for source in sorted({each.source for each in bindings or ()} - seen):
        hint = f"`interlock attester {source} --key FILE.pub` adds the key of its signer, --unsigned why nobody signs"
        raise document.error(f"{layout.BINDINGS} names {source}, and no entry here is about it", (), hint=hint)
    return file


def read_images(tree: Tree, environments: Iterable[str]) -> ImagesFile:
    """An empty one when the file is missing."""
    if layout.IMAGES not in tree.files:
        return NO_IMAGES
    document = strict_yaml.load(tree.text(layout.IMAGES), path=layout.IMAGES)
    file = strict_yaml.validate(document, ImagesFile)
    known = set(environments)
    for index, each in enumerate(file.third_party):
        for place, name in enumerate(each.environments):
            if name not in known:
                where = ("third_party", index, "environments", place)
                raise document.error(f"there is no environment {name!r}", where, hint=f"there are: {sorted(known)}")
    return file


def stricter(new: AttestersFile | None, older: Sequence[AttestersFile | None]) -> AttestersFile | None:
    """The new file, in which no source has lost its keys: a commit cannot take away what judges it.

    Keys themselves are the new file's: what is taken out there is trusted no more, what comes in there is trusted.
    The same holds of `branch` and `commit_keys`, which may become others: where the new file has none, those of before
    judge once more.
    """
    entries: dict[str, Attester] = {each.source: each for each in (new.attesters if new else ())}
    for file in older:
        for each in file.attesters if file else ():
            now = entries.get(each.source)
            if each.keys and not (now and now.keys):
                entries[each.source] = each
            elif now:
                rules = {"branch": now.branch or each.branch, "commit_keys": now.commit_keys or each.commit_keys}
                entries[each.source] = now.model_copy(update=rules)
    return AttestersFile(format=1, attesters=tuple(entries.values())) if entries or new else None
