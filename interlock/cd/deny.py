"""What a CD host never deploys, whatever Git says: commits, digests and keys. It needs neither git nor a forge.

Pure: the file is read by `tasks.cd.deny_list`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from interlock.cd.objects import subject
from interlock.contract.canonical import encoded
from interlock.contract.commit import Change
from interlock.contract.manifest import Manifest
from interlock.contract.models import CommitId, Digest, File, Model
from interlock.contract.verification import Verified
from interlock.errors import ParameterError, Refused

_OPENPGP = "OPENPGP:"
KeyFingerprint = Annotated[
    str, StringConstraints(pattern=rf"^SHA256:[A-Za-z0-9+/]{{43}}$|^({_OPENPGP})?([0-9A-F]{{40}}|[0-9A-F]{{64}})$")
]
"""As `ssh-keygen -l` prints it; of an OpenPGP key the hex digits in capitals, `OPENPGP:` before them or not."""
_LONGEST_REASON = 1000
Why = Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST_REASON)]
Kind = Literal["commit", "digest", "key"]


class Denied(Model):
    """One thing that is denied: just one of `commit`, `digest` and `key`."""

    commit: CommitId | None = None
    digest: Digest | None = None
    key: KeyFingerprint | None = None
    reason: Why
    since: Annotated[dt.datetime, Field(strict=False)] | None = None

    @model_validator(mode="after")
    def names_one(self) -> Self:
        if sum(value is not None for value in (self.commit, self.digest, self.key)) != 1:
            raise ValueError("name just one of commit, digest and key")
        return self

    @property
    def kind(self) -> Kind:
        return "commit" if self.commit else "digest" if self.digest else "key"

    @property
    def value(self) -> str:
        return self.commit or self.digest or self.key or ""


class DenyFile(File):
    """deny.yaml, beside cd.yaml."""

    denied: tuple[Denied, ...] = ()

    def having(self, kind: Kind) -> Mapping[str, Denied]:
        return {each.value: each for each in self.denied if each.kind == kind}


def kind_of(value: str) -> Kind:
    """What a value on the command line is; ParameterError for what is none of the three."""
    for kind in ("commit", "digest", "key"):
        try:
            Denied.model_validate({kind: value, "reason": "-"})
        except ValueError:
            continue
        return kind
    raise ParameterError(
        f"{value!r} is no commit id (40 hex digits), digest (sha256:…) or key's fingerprint (SHA256:…, OPENPGP:…)",
        hint="`ssh-keygen -l -f key.pub` prints a key's fingerprint, `gpg --list-keys` an OpenPGP one's; "
        "`git rev-parse` a commit's full id",
    )


def require_reason(given: str) -> str:
    """A reason of the command line without blanks around it; ParameterError for none, and for an essay."""
    reason = given.strip()
    if not reason:
        raise ParameterError("--reason says nothing", hint="every refusal says it: write why")
    if len(reason) > _LONGEST_REASON:
        raise ParameterError(f"--reason has {len(reason)} characters; {_LONGEST_REASON} is the most")
    return reason


def require_keys(file: DenyFile, verified: Iterable[Verified], *, environment: str) -> None:
    """Refused when one of the commits is signed by a key that is denied."""
    keys = {value.removeprefix(_OPENPGP): denied for value, denied in file.having("key").items()}
    for commit in verified:
        if found := keys.get(commit.key):
            raise _refused(environment, found, f"commit {commit.commit[:12]} of {commit.signer} is signed by it")


def require_commit(
    denied: Denied, *, changes: Sequence[Change], now: Mapping[str, str], head: str, environment: str
) -> None:
    """Refused unless all that the denied commit changed is at the head as it was before it. `now`: blobs by path."""
    left = [
        change.path
        for change in changes
        if now.get(change.path) != (None if set(change.old_mode) == {"0"} else change.old_blob)
    ]
    if left:
        raise _refused(environment, denied, f"{head[:12]} still has what it made of {_some(left)}")


def require_digests(file: DenyFile, manifests: Iterable[Manifest], *, environment: str) -> None:
    """Refused when any of the objects names a digest that is denied, wherever in it."""
    digests = {value.encode(): found for value, found in file.having("digest").items()}
    if not digests:
        return
    for manifest in manifests:
        text = encoded(manifest.body)
        for value, found in digests.items():
            if value in text:
                raise _refused(environment, found, f"{subject(manifest.identity)} names it")


def _refused(environment: str, denied: Denied, where: str) -> Refused:
    undo = "" if denied.kind == "key" else "push a commit without it, or, "
    return Refused(
        f"{environment}: {denied.kind} {denied.value} is denied on this host ({denied.reason}): {where}",
        rule="denied",
        hint=f"{undo}once it is cleared, run `interlock deny remove {denied.value}` on CD's host",
    )


def _some(paths: Collection[str]) -> str:
    shown = ", ".join(sorted(paths)[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
