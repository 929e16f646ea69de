"""Sealed values enter Secrets: after rendering, in CD's memory, and nowhere else.

What is written is `data` alone: `stringData` becomes what the API server makes of it. The fingerprint stays that of
the ciphertext, so no cache and no name on this host has a digest of what is secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from interlock.contract.manifest import Manifest
from interlock.contract.placeholder import FORM
from interlock.contract.render import Rendered
from interlock.contract.sops import Opened
from interlock.contract.strict_yaml import Path
from interlock.contract.template import Origin
from interlock.errors import RenderError

Values = Mapping[str, Opened]
"""An application's opened values, by the digest of their ciphertext."""


def unsealed(rendered: Rendered, opened: Mapping[str, Values]) -> Rendered:
    """With the values of each application, by its name, in its Secrets.

    RenderError for a placeholder that is none of the application's own, such as one copied from another.
    """
    manifests = tuple(
        _unsealed(each, opened[each.application]) if each.application in opened else each for each in rendered.manifests
    )
    return replace(rendered, manifests=manifests)


def _unsealed(manifest: Manifest, values: Values) -> Manifest:
    if not holds_placeholder(manifest.body):
        return manifest
    body = manifest.body
    data = {key: _encoded(_filled(manifest, ("data", key), text, values)) for key, text in _entries(body, "data")}
    plain = {
        key: base64.b64encode(_text(manifest, key, text, values)).decode() for key, text in _entries(body, "stringData")
    }
    rest = {key: value for key, value in body.items() if key not in {"data", "stringData"}}
    origins = {_as_data(where): origin for where, origin in manifest.origins.items()}
    return Manifest({**rest, "data": {**data, **plain}}, manifest.application, origins, manifest.fingerprint)


def holds_placeholder(body: Mapping[str, Any]) -> bool:
    """Whether it is a Secret into which sealed values go."""
    if (body.get("apiVersion"), body.get("kind")) != ("v1", "Secret"):
        return False
    entries = (*_entries(body, "data"), *_entries(body, "stringData"))
    return any(isinstance(text, str) and FORM.search(text) for _, text in entries)


def _entries(body: Mapping[str, Any], field: str) -> tuple[tuple[str, Any], ...]:
    found = body.get(field)
    return tuple(found.items()) if isinstance(found, dict) else ()


def _as_data(where: Path) -> Path:
    return ("data", *where[1:]) if where[:1] == ("stringData",) else where


def _encoded(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _filled(manifest: Manifest, where: Path, value: Any, values: Values) -> Any:
    """A whole value; bytes when it was sealed."""
    found = FORM.fullmatch(value) if isinstance(value, str) else None
    return _value(manifest, where, found, values) if found else value


def _text(manifest: Manifest, key: str, text: Any, values: Values) -> bytes:
    """A text with placeholders in it."""
    where: Path = ("stringData", key)
    if not isinstance(text, str):
        raise _error(manifest, where, f"{'.'.join(map(str, where))} is no text", "quote it")
    parts: list[bytes] = []
    at = 0
    for found in FORM.finditer(text):
        parts += (text[at : found.start()].encode(), _value(manifest, where, found, values))
        at = found.end()
    return b"".join((*parts, text[at:].encode()))


def _value(manifest: Manifest, where: Path, found: re.Match[str], values: Values) -> bytes:
    value = values.get(found[1])
    if value is None:
        message = f"{'.'.join(map(str, where))} names a sealed value that is not this application's: {found[0]}"
        raise _error(manifest, where, message, "write `{{ secrets.… }}`; a placeholder cannot be copied")
    return value.text


def _error(manifest: Manifest, where: Path, message: str, hint: str) -> RenderError:
    origin: Origin = manifest.origin(where)
    subject = f"{manifest.identity.kind} {manifest.identity.name}"
    return RenderError(f"{subject}: {message}", path=origin.path, line=origin.line, hint=hint)
