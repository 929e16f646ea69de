"""Options that become names in files: checked while the command line is read, so that the message names the option."""

from __future__ import annotations

import re
from typing import Any, get_args

import typer


def name(value: str | None) -> str | None:
    """A DNS label, as environments, applications, components, namespaces and signers have."""
    from interlock.contract import models

    return _matching(value, models.Name)


def each(values: list[str]) -> list[str]:
    for value in values:
        name(value)
    return values


def repository(value: str | None) -> str | None:
    from interlock.contract import models

    return _matching(value, models.RepositoryName)


def image(value: str | None) -> str | None:
    """By digest: a tag may mean another image tomorrow."""
    from interlock.contract import models

    return _matching(value, models.Image)


def image_repository(value: str | None) -> str | None:
    from interlock.contract import models

    return _matching(value, models.ImageRepository)


def url_path(value: str) -> str:
    if not re.fullmatch("/[!-~]*", value):
        raise typer.BadParameter(f"{value!r} is not a path (a slash, then printable ASCII without spaces)")
    return value


def _matching(value: str | None, alias: Any) -> str | None:
    """The value when it fits the pattern of one of the models' annotated texts."""
    from interlock.contract import models

    pattern = get_args(alias)[1].pattern
    if value is not None and not re.fullmatch(pattern, value):
        raise typer.BadParameter(f"{value!r} is not {models.MEANINGS[pattern]}")
    return value
