"""Files held against the JSON Schemas that `interlock schema` writes, by another reader than Interlock's own models."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from interlock.cli import file_schemas
from interlock.cli.file_schemas import FileForm
from interlock.contract import strict_yaml

UNKNOWN = "no such"
"""A field that nothing has, and no name either."""


_FREE = {"objects", "match", "values"}
"""Of render tests: what stands below is a template's or Kubernetes' own."""


@lru_cache
def _validator(form: FileForm) -> Draft202012Validator:
    return Draft202012Validator(file_schemas.schema(form), offline=True)


def misfits(form: FileForm, text: str) -> list[str]:
    """What the schema says of a file."""
    value = strict_yaml.load(text, path=form.where).value
    return [f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in _validator(form).iter_errors(value)]


def let_pass(form: FileForm, text: str) -> list[str]:
    """The mappings of a file in which the schema would let an unknown field pass."""
    value = strict_yaml.load(text, path=form.where).value
    changed = ((where, _with_unknown(value, where)) for where in _mappings(value) if not _FREE & set(where))
    return [".".join(map(str, where)) for where, each in changed if _validator(form).is_valid(each)]


def misfits_below(folder: Path) -> dict[str, list[str]]:
    """The same of each file of a repository that has a form, by its path; none of them is empty-handed."""
    found = {path: form for path in _paths(folder) if (form := file_schemas.form_of(path))}
    assert found, f"{folder} has no file with a form"
    return {path: misfits(form, (folder / path).read_text()) for path, form in found.items()}


def _paths(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*.yaml") if path.is_file() and ".git" not in path.parts]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _mappings(value: object, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield where
        for key, entry in value.items():
            yield from _mappings(entry, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _mappings(item, (*where, index))


def _with_unknown(value: object, where: tuple[str | int, ...]) -> object:
    changed: Any = deepcopy(value)
    part = changed
    for step in where:
        part = part[step]
    part[UNKNOWN] = {}
    return changed
