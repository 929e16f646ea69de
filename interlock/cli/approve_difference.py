"""What an environment would become, as the difference of what two commits render to and of what else they say."""

from __future__ import annotations

import difflib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from interlock.contract import strict_yaml
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.contract.approvals import Question
    from interlock.contract.manifest import Manifest
    from tasks.common.mirrored import Mirrored

_SECRET = ("data", "stringData")
_RENDERED = re.compile(r"templates/.*\.j2|(applications/[^/]+|environments/[^/]+/[^/]+)/(values\.yaml|manifests/.*)")
"""What a rendering shows whole; of all else the text says more: what is pruned or undone, who may, what is checked."""


def shown(history: Mirrored, found: Question) -> str:
    """What else differs of what the environment reads, as text, and then what it renders to."""
    return "\n".join((*_texts(history, found), rendered(history, found)))


def _texts(history: Mirrored, found: Question) -> Iterator[str]:
    before, after = (_said(history, commit, found) for commit in (found.base, found.commit))
    for name in before:
        yield from _lines(name, before, after)


def _said(history: Mirrored, commit: str | None, found: Question) -> dict[str, str]:
    from interlock.contract import effects

    names = [name for name in found.changed if not _RENDERED.fullmatch(name)]
    if commit is None:
        return dict.fromkeys(names, "")
    tree = history.tree(commit)
    return {name: effects.text(tree, found.environment, name) for name in names}


def rendered(history: Mirrored, found: Question) -> str:
    """Object by object, as a unified difference; of Secrets only which values differ."""
    key = secrets.token_bytes(16)
    try:
        before = _objects(history, found.base, found.environment, key) if found.base else {}
        after = _objects(history, found.commit, found.environment, key)
    except InputError as error:
        return f"what it renders to cannot be shown: {error.message}"
    lines = [line for name in sorted(before.keys() | after.keys()) for line in _lines(name, before, after)]
    return "\n".join(lines) if lines else "what it renders to stays as it is"


def _objects(history: Mirrored, commit: str, environment: str, key: bytes) -> dict[str, str]:
    from interlock.contract import repository
    from tasks.common import git
    from tasks.common.render import render_environment

    read = repository.read(git.read_tree(history.mirror, commit))
    if environment not in read.environments:
        return {}
    manifests = render_environment.fn(read, environment, None).manifests
    return {_name(each): strict_yaml.dump(_masked(each.body, key)) for each in manifests}


def _name(manifest: Manifest) -> str:
    each = manifest.identity
    return "/".join(part for part in (each.kind, each.namespace, each.name) if part)


def _masked(body: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    if body.get("kind") != "Secret":
        return dict(body)
    return {**body, **{part: _masks(body[part], key) for part in _SECRET if isinstance(body.get(part), dict)}}


def _masks(values: Mapping[str, Any], key: bytes) -> dict[str, str]:
    """Equal ones look equal, within one call."""
    return {
        name: f"•••• {hmac.new(key, str(value).encode(), 'sha256').hexdigest()[:6]}" for name, value in values.items()
    }


def _lines(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    old, new = (found.get(name, "").splitlines() for found in (before, after))
    if old != new:
        yield from difflib.unified_diff(old, new, f"deployed/{name}", f"new/{name}", n=2, lineterm="")
