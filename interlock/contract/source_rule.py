"""The source repository's own rule: whose signature a commit must have that is built and released."""

from __future__ import annotations

from typing import Protocol

from interlock.contract import commit as commits
from interlock.contract import layout, signature
from interlock.contract.attesters import Attester
from interlock.errors import FormatError, Refused


class Rule(Protocol):
    """What of an attester's entry, or of a hook's settings, is asked here."""

    @property
    def source(self) -> str: ...

    @property
    def commit_keys(self) -> tuple[str, ...]: ...


def asks(attester: Attester | None) -> bool:
    """Whether commits of the source must be signed at all."""
    return attester is not None and bool(attester.commit_keys)


def signed_by(rule: Rule, commit: str, data: bytes) -> str:
    """The fingerprint of the key that signed a commit of the source, whose bytes are `data`.

    Refused (`source-signature`) when it is none of those that the rule names.
    """
    try:
        return signature.fingerprint(_key(rule, commit, data))
    except (Refused, FormatError) as error:
        raise Refused(
            f"{rule.source} {commit[:12]}: {error.message}",
            rule="source-signature",
            hint=f"{layout.ATTESTERS} names in `commit_keys` who signs commits of {rule.source}; "
            "push one on top that is signed by such a key",
        ) from None


def _key(rule: Rule, commit: str, data: bytes) -> str:
    parsed = commits.parse(data)
    if commits.object_id("commit", data) != commit:
        raise Refused("its bytes have another id", rule="source-signature")
    if parsed.signature is None:
        raise Refused("it is not signed", rule="source-signature")
    return signature.verify(
        parsed.signature, parsed.payload, {signature.key_blob(key): key for key in rule.commit_keys}
    )


def fingerprints(attester: Attester) -> frozenset[str]:
    return frozenset(map(signature.fingerprint, attester.commit_keys))
