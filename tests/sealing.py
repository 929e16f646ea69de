"""Sealed files for tests, made as `interlock secrets seal` makes them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import pyrage

from interlock.contract import sops
from interlock.contract.sealed import place
from tasks.common.age import sealed_to
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, REPOSITORY_ID

MODIFIED = "2030-01-02T03:04:05Z"
OWN_PLACE = place(REPOSITORY_ID, ENVIRONMENT, APPLICATION)


def identity() -> tuple[str, str]:
    """A new private key, and its recipient."""
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


def nonces() -> Iterable[bytes]:
    return iter(lambda: secrets.token_bytes(sops.NONCE_BYTES), b"")


def seal(values: Mapping[str, Any], *recipients: str, to: str = OWN_PLACE) -> str:
    key = secrets.token_bytes(sops.KEY_BYTES)
    keys = sealed_to(recipients, key)
    return sops.sealed(values, place=to, keys=keys, key=key, nonces=iter(nonces()), modified=MODIFIED)


def recipients_file(*recipients: str, environment: str = ENVIRONMENT) -> str:
    """trust/recipients.yaml with these."""
    entries = "".join(
        f"  - name: host-{index}\n    recipient: {each}\n    environments: [{environment}]\n"
        for index, each in enumerate(recipients)
    )
    return f"format: 1\nrecipients:\n{entries}"
