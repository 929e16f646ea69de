"""Whether a delivery comes from who shares the secret, and what it counts as. Its content is never believed.

A signature is HMAC-SHA-256 over the raw body, in hex after `sha256=`, in one of two headers: our own, or the one that
GitHub, Gitea and Forgejo send; what is not signed there (a delivery's id, a time) is not looked at. Or it is GitLab's,
of the form of Standard Webhooks, which signs id and time too. GitLab's older secret token signs nothing: it is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from uuid import UUID, uuid5

from interlock.errors import HostConfigError, Refused

HEADERS = frozenset({"x-interlock-signature-256", "x-hub-signature-256"})
MOST_BYTES = 1 << 20
MOST_SECONDS = 300
"""How old a signature with a time may be."""
LEAST_SECRET = 32
"""Shorter secrets can be guessed by who saw one delivery."""
EVENT = "interlock.push"

_ID, _TIME, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_STANDARD = frozenset({_ID, _TIME, _SIGNATURE})
_MOST_SIGNATURES = 10
_PREFIX = b"whsec_"
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


def verify(headers: Iterable[tuple[str, str]], body: bytes, secrets: Sequence[bytes], *, now: float) -> None:
    """Refused unless exactly one signature is there and one of the secrets made it for this body; `now` in seconds."""
    given = [(name.lower(), value) for name, value in headers if name.lower() in HEADERS | _STANDARD]
    standard = [(name, value) for name, value in given if name in _STANDARD]
    if standard:
        _verify_standard(standard if standard == given else [], body, secrets, now=now)
        return
    if len(given) != 1:
        raise Refused(f"{len(given)} signatures instead of one", rule="signature-header")
    found = _FORM.fullmatch(given[0][1])
    if found is None:
        raise Refused("the signature is not sha256= and 64 hex digits", rule="signature-form")
    fits = [hmac.compare_digest(sign(body, secret), given[0][1]) for secret in secrets]
    if not any(fits):
        raise Refused("no secret of ours made the signature", rule="bad-signature")


def _verify_standard(given: Sequence[tuple[str, str]], body: bytes, secrets: Sequence[bytes], *, now: float) -> None:
    headers = dict(given)
    if len(given) != len(_STANDARD) or headers.keys() != _STANDARD:
        raise Refused("id, time and signature must each stand there once, and no other", rule="signature-header")
    delivery, time, signatures = (headers[name] for name in (_ID, _TIME, _SIGNATURE))
    if not re.fullmatch(r"[0-9]{1,12}", time) or not delivery.isascii() or not signatures.isascii():
        raise Refused("the time is not a number of seconds, or something is not ASCII", rule="signature-form")
    if abs(now - int(time)) > MOST_SECONDS:
        raise Refused(f"it was signed more than {MOST_SECONDS} seconds ago", rule="signature-time")
    wanted = [sign_standard(body, secret, delivery=delivery, time=time) for secret in secrets]
    fits = [hmac.compare_digest(one, each) for one in signatures.split(" ")[:_MOST_SIGNATURES] for each in wanted]
    if not any(fits):
        raise Refused("no secret of ours made the signature", rule="bad-signature")


def sign_standard(body: bytes, secret: bytes, *, delivery: str, time: str) -> str:
    """What stands in `webhook-signature`. A secret `whsec_…` is the key in base64, any other is the key."""
    key = _decoded(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else secret
    made = hmac.new(key, f"{delivery}.{time}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return _PREFIX + text  # no base64: it only looks like one of those


def sign(body: bytes, secret: bytes) -> str:
    """The header's value for a body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def delivery_id(repository: str, body: bytes) -> UUID:
    """What the signed bytes count as: the same bytes for the same repository are the same delivery, whenever sent."""
    return uuid5(_SPACE, f"{repository}\n{hashlib.sha256(body).hexdigest()}")


def resource(repository: str) -> str:
    """The repository's name among Prefect's events; the triggers of prefect.yaml match it."""
    return f"interlock.repository.{repository}"
