"""Sealed values enter the Secrets of their own application."""

from __future__ import annotations

import pytest

from interlock.cd.unseal import unsealed
from interlock.contract.manifest import Manifest
from interlock.contract.render import Rendered
from interlock.contract.sops import Opened
from interlock.contract.template import Origin
from interlock.errors import RenderError

OWN, OTHERS = "a" * 32, "b" * 32


def secret(text: str) -> Rendered:
    metadata = {"name": "vault", "namespace": "shop"}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": text}}
    return Rendered("dev", (Manifest(body, "vault", {(): Origin("secret.yaml.j2", 1, None)}),), ())


def test_a_placeholder_of_another_application_opens_for_nobody() -> None:
    """Whatever let it through before: only values that are sealed to the application enter its Secrets."""
    opened = {"vault": {OWN: Opened(b"hunter2", "str")}}

    (made,) = unsealed(secret(f"⟦sealed password {OWN}⟧@db"), opened).manifests
    assert made.body["data"] == {"url": "aHVudGVyMkBkYg=="}
    with pytest.raises(RenderError, match="not this application's"):
        unsealed(secret(f"⟦sealed password {OTHERS}⟧@db"), opened)
