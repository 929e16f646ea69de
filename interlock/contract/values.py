"""Values held against what their template set asks of them: JSON Schema in templates/<set>/values.schema.json.

A schema is somebody else's: this runs where templates are rendered, in a process with limited time and memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from interlock.contract import strict_yaml
from interlock.contract.schema import Problem, Schema
from interlock.errors import RenderError

if TYPE_CHECKING:
    from interlock.contract.render import ApplicationInputs, Inputs

FILE = "values.schema.json"


def check(given: Inputs) -> None:
    """RenderError for the first application whose values do not fit, with the line that gives the value."""
    schemas = {folder: _schema(text, f"{folder}/{FILE}") for folder, text in given.values_schemas.items()}
    for application in given.applications:
        schema = schemas.get(application.folder)
        if schema and (problems := schema.problems(dict(application.values))):
            raise _refusal(application, problems)


def _schema(text: str, path: str) -> Schema:
    try:
        return Schema(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise RenderError(f"this is no JSON Schema: {error}", path=path) from None


def _refusal(application: ApplicationInputs, problems: tuple[Problem, ...]) -> RenderError:
    first, others = problems[0], len(problems) - 1
    path, line = _place(application.values_texts, first) or (f"{application.folder}/{FILE}", None)
    message = f"the values of {application.name}: {first}"
    if others:
        message += f" (and {others} more {'problem' if others == 1 else 'problems'})"
    hint = f"{application.folder}/{FILE} says what they may be"
    return RenderError(message, path=path, line=line, hint=hint)


def _place(texts: Mapping[str, str], problem: Problem) -> tuple[str, int | None] | None:
    """Where the value is given, or the nearest mapping around it in the first of the files that has one."""
    documents = [strict_yaml.load(text, path=path) for path, text in texts.items()]
    for where in (problem.where[:length] for length in range(len(problem.where), 0, -1)):
        for document in documents:
            if where in document.places:
                return document.path, document.line(where)
    return (documents[0].path, None) if documents else None
