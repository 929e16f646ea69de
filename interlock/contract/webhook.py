"""Whether a delivery comes from who shares the secret, and what it counts as. Its content is never believed.

A signature is HMAC-SHA-256 over the raw body, in hex after `sha256=`, in one of two headers: our own, or the one of
GitHub and Gitea's GitHub mode. What is not signed (a delivery's id, a time) is not looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from uuid import UUID, uuid5

from interlock.errors import HostConfigError, Refused

HEADERS = frozenset({"x-interlock-signature-256", "x-hub-signature-256"})
MOST_BYTES = 1 << 20
LEAST_SECRET = 32
"""Shorter secrets can be guessed by who saw one delivery."""
EVENT = "interlock.push"

_FORM = re.compile(r"sha256=([0-9a-f]{64})")
_SPACE = UUID("8d2f3c1e-5b0a-5e0c-9d0f-6a1e7d1c2b3a")


def read_secrets(text: str, *, path: str) -> tuple[bytes, ...]:
    """One secret a line; two while one replaces the other. HostConfigError when there is none or one is short."""
    secrets = tuple(line.strip().encode() for line in text.splitlines() if line.strip())
    if not secrets or any(len(secret) < LEAST_SECRET for secret in secrets):
        raise HostConfigError(
            f"{path}: needs one secret a line, of at least {LEAST_SECRET} characters each",
            hint=f"openssl rand -hex 32 > {path}, and the same at the git server",
        )
    return secrets


def verify(headers: Iterable[tuple[str, str]], body: bytes, secrets: Sequence[bytes]) -> None:
    """Refused unless exactly one signature is there and one of the secrets made it for this body."""
    given = [value for name, value in headers if name.lower() in HEADERS]
    if len(given) != 1:
        raise Refused(f"{len(given)} signatures instead of one", rule="signature-header")
    found = _FORM.fullmatch(given[0])
    if found is None:
        raise Refused("the signature is not sha256= and 64 hex digits", rule="signature-form")
    fits = [hmac.compare_digest(sign(body, secret), given[0]) for secret in secrets]
    if not any(fits):
        raise Refused("no secret of ours made the signature", rule="bad-signature")


def sign(body: bytes, secret: bytes) -> str:
    """The header's value for a body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def delivery_id(repository: str, body: bytes) -> UUID:
    """What the signed bytes count as: the same bytes for the same repository are the same delivery, whenever sent."""
    return uuid5(_SPACE, f"{repository}\n{hashlib.sha256(body).hexdigest()}")


def resource(repository: str) -> str:
    """The repository's name among Prefect's events; the triggers of prefect.yaml match it."""
    return f"interlock.repository.{repository}"
