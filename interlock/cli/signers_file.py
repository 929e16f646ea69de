"""What `interlock trust` writes into trust/signers.yaml: the file before it as a value, the file after it as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interlock.contract import layout
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.contract.models import EndedKey, Signer, SignersFile
    from interlock.contract.tree import Tree


def first(name: str, keys: Sequence[str]) -> dict[str, str]:
    """The trust files of a repository that has none: one person, who may do everything."""
    from interlock.contract import strict_yaml

    person = {"name": name, **_keys(keys), "writes": ["**"], "approves": True}
    return {
        layout.SIGNERS: strict_yaml.dump({"format": 1, "signers": [person]}),
        layout.BINDINGS: strict_yaml.dump({"format": 1, "bindings": []}),
    }


def with_signer(
    tree: Tree,
    name: str,
    keys: Sequence[str],
    *,
    writes: Sequence[str],
    machine: bool,
    approves: bool,
    until: dt.date | None,
) -> str:
    """The file with a new signer, or with more keys of one who is there, whose rights stay what they are."""
    file = _read(tree)
    listed = [_plain(each) for each in file.signers]
    known = next((at for at, each in enumerate(file.signers) if each.name == name), None)
    if known is None:
        more = {"machine": True} if machine else {"approves": True} if approves else {}
        last = {"until": until.isoformat()} if until else {}
        return _text(tree, [*listed, {"name": name, **_keys(keys), "writes": list(writes), **more, **last}])
    if writes or machine or approves or until:
        hint = f"edit {layout.SIGNERS} to change what {name} may do; leave the options out to add a key"
        raise InputError(f"{name} is a signer already", hint=hint)
    listed[known] = _with_keys(file.signers[known], (*file.signers[known].all_keys, *keys))
    return _text(tree, listed)


def knows(tree: Tree, name: str) -> bool:
    return any(each.name == name for each in _read(tree).signers)


def without_key(tree: Tree, name: str, old: str, new: Sequence[str], *, how: str, commit: str) -> str:
    """The file with `old` ended at the commit, `retired` or `compromised`, and the new keys in its place."""
    file = _read(tree)
    signer = _signer(file, name)
    keys = [*(each for each in signer.all_keys if each != old), *(each for each in new if each not in signer.all_keys)]
    if not keys:
        raise InputError(f"{name} would have no key left", hint="give a new one with --key")
    listed = [_with_keys(each, keys) if each.name == name else _plain(each) for each in file.signers]
    ended = [*map(_plain, file.ended), {"name": name, "key": old, how: commit}]
    return _text(tree, listed, ended)


def believed_further(tree: Tree, name: str, commit: str) -> str:
    """The file in which all compromised keys of that name are believed up to the commit."""
    file = _read(tree)
    ended = [{**_plain(each), **_moved(each, name, commit)} for each in file.ended]
    if not any(each.name == name and each.compromised for each in file.ended):
        raise InputError(f"{layout.SIGNERS}: no key of {name} is compromised", hint="`ended` there lists them")
    return _text(tree, [_plain(each) for each in file.signers], ended)


def _moved(ended: EndedKey, name: str, commit: str) -> dict[str, str]:
    return {"compromised": commit} if ended.name == name and ended.compromised else {}


def the_key(tree: Tree, name: str, asked: str | None) -> str:
    """Which key of a signer is meant: by its fingerprint or itself, else the only one."""
    from interlock.contract import signature

    keys = _signer(_read(tree), name).all_keys
    if asked is None and len(keys) == 1:
        return keys[0]
    found = [key for key in keys if asked in (key, " ".join(key.split()[:2]), signature.fingerprint(key))]
    if len(found) != 1:
        listed = "\n".join(map(signature.fingerprint, keys))
        what = f"no key of {name} is {asked}" if asked else f"{name} has {len(keys)} keys"
        raise InputError(what, hint=f"name one with --old:\n{listed}")
    return found[0]


def _read(tree: Tree) -> SignersFile:
    from interlock.contract.repository import read_trust

    if layout.SIGNERS not in tree.files:
        raise InputError(f"{layout.SIGNERS} is not there", hint="begin it: interlock trust init NAME --key FILE")
    return read_trust(tree)[0]


def _signer(file: SignersFile, name: str) -> Signer:
    found = next((each for each in file.signers if each.name == name), None)
    if found is None:
        raise InputError(
            f"{layout.SIGNERS}: nobody is named {name}",
            hint=f"there are: {', '.join(each.name for each in file.signers)}",
        )
    return found


def _with_keys(signer: Signer, keys: Sequence[str]) -> dict[str, Any]:
    others = {field: value for field, value in _plain(signer).items() if field not in ("name", "key", "keys")}
    return {"name": signer.name, **_keys(keys), **others}


def _keys(keys: Sequence[str]) -> dict[str, Any]:
    return {"key": keys[0]} if len(keys) == 1 else {"keys": list(keys)}


def _plain(value: Signer | EndedKey) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_defaults=True)


def _text(tree: Tree, signers: list[dict[str, Any]], ended: list[dict[str, Any]] | None = None) -> str:
    from interlock.cli.bind import rewritten

    return rewritten(tree, layout.SIGNERS, {"signers": signers, **({"ended": ended} if ended else {})})
