"""JSON Schemas (draft 2020-12) of our YAML files, made from the models that read them, for editors and other tools.

A schema says less than its model: what concerns two fields, another file or a cluster only Interlock checks.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from interlock.cd.deny import DenyFile
from interlock.cd.host import CdHost
from interlock.ci.host import CiHost, SignerHost
from interlock.contract import attesters, layout, models
from interlock.contract.freshness import FreshnessFile
from interlock.contract.host import ReceiverHost
from interlock.contract.protection import ProtectionFile
from interlock.contract.push import HookFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = ".interlock/schemas"
"""Where a repository has the schemas that its own files name, so that editors need no network."""
_SUFFIX = ".schema.json"


@dataclass(frozen=True)
class FileForm:
    """A kind of file: the schema's name, where such files are, and the model that reads them."""

    name: str
    where: str
    model: type[models.File]

    @property
    def file_name(self) -> str:
        return f"{self.name}{_SUFFIX}"


APPLICATION_REPOSITORY = FileForm("interlock", layout.APPLICATION_REPOSITORY, models.ApplicationRepositoryFile)
ENVIRONMENT_REPOSITORY: tuple[FileForm, ...] = (
    FileForm("environments", layout.ENVIRONMENTS, models.EnvironmentsFile),
    FileForm("signers", layout.SIGNERS, models.SignersFile),
    FileForm("bindings", layout.BINDINGS, models.BindingsFile),
    FileForm("attesters", layout.ATTESTERS, attesters.AttestersFile),
    FileForm("images", layout.IMAGES, attesters.ImagesFile),
    FileForm("recipients", layout.RECIPIENTS, models.RecipientsFile),
    FileForm("gate", layout.GATE, models.GateFile),
    FileForm("waivers", layout.WAIVERS, models.WaiversFile),
    FileForm("rules", layout.RULES, models.RulesFile),
    FileForm("health", layout.HEALTH, models.HealthFile),
    FileForm("freshness", layout.FRESHNESS, FreshnessFile),
    FileForm("protection", layout.PROTECTION, ProtectionFile),
    FileForm("environment", layout.environment("*"), models.EnvironmentFile),
    FileForm("application", layout.application("*"), models.ApplicationFile),
    FileForm("release", layout.release("*", "*"), models.ReleaseFile),
    FileForm("render-test", layout.render_tests("*"), models.RenderTestFile),
)
HOSTS: tuple[FileForm, ...] = tuple(
    FileForm(name, f"/etc/interlock/{name}.yaml", model)
    for name, model in (
        ("ci", CiHost),
        ("cd", CdHost),
        ("deny", DenyFile),
        ("receiver", ReceiverHost),
        ("signer", SignerHost),
    )
)
GIT_SERVER = FileForm("hook", "hooks/interlock.yaml", HookFile)
FORMS: tuple[FileForm, ...] = (APPLICATION_REPOSITORY, *ENVIRONMENT_REPOSITORY, *HOSTS, GIT_SERVER)


def schema(form: FileForm) -> dict[str, Any]:
    """The JSON Schema of one kind of file."""
    made = form.model.model_json_schema(schema_generator=_Writer)
    described = f"{form.where}: {_joined(inspect.getdoc(form.model) or '').removeprefix(form.where).lstrip('. ')}"
    return {"$schema": DIALECT, **made, "title": "Interlock", "description": described.rstrip(": ")}


def text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def files(forms: Sequence[FileForm]) -> dict[str, str]:
    """The schemas as they lie in a repository, by path."""
    return {f"{FOLDER}/{form.file_name}": text(schema(form)) for form in forms}


def form_of(path: str) -> FileForm | None:
    """What a file of a repository is, by its path; None for what has no fixed form, such as values."""
    known = (APPLICATION_REPOSITORY, *ENVIRONMENT_REPOSITORY)
    return next((form for form in known if _matches(path, form.where)), None)


def _matches(path: str, where: str) -> bool:
    return path.count("/") == where.count("/") and PurePosixPath(path).match(where)


def line(path: str, schema: str) -> str:
    """The comment by which editors with a YAML language server find the schema; both paths are in one repository."""
    return f"# yaml-language-server: $schema={'../' * path.count('/')}{schema}\n"


# writing ---------------------------------------------------------------------------------------------


class _Writer(GenerateJsonSchema):
    """Says in words what the models' docstrings say, and that other names are errors."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title", None)
        if "description" in made:
            made["description"] = _joined(made["description"])
        model = schema["cls"]
        for name, field in made.get("properties", {}).items():
            if said := _said_of(model, name):
                field["description"] = said
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made["additionalProperties"] = False
        return made

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        made = super().str_schema(schema)
        if meaning := models.MEANINGS.get(made.get("pattern", "")):
            # Not part of JSON Schema; the language servers for YAML and JSON show it instead of the pattern.
            made["patternErrorMessage"] = f"must be {meaning}"
        return made


def _said_of(model: type[BaseModel], field: str) -> str:
    """The docstring below a field, else the one below the type that it has."""
    for each in model.__mro__:
        docs = _documented(each.__module__)
        if field in docs.fields.get(each.__name__, {}):
            return docs.fields[each.__name__][field]
        for name in docs.types.get(each.__name__, {}).get(field, ()):
            if said := docs.aliases.get(name) or _documented(models.__name__).aliases.get(name):
                return said
    return ""


@dataclass(frozen=True)
class _Documented:
    """The docstrings of a module: below fields by class, below types, and the names in each field's annotation."""

    fields: Mapping[str, Mapping[str, str]]
    aliases: Mapping[str, str]
    types: Mapping[str, Mapping[str, tuple[str, ...]]]


@lru_cache
def _documented(module: str) -> _Documented:
    if not module.startswith("interlock."):
        return _Documented({}, {}, {})
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return _Documented(
        {node.name: dict(_docstrings(node.body)) for node in classes},
        dict(_docstrings(tree.body)),
        {node.name: dict(_annotations(node.body)) for node in classes},
    )


def _docstrings(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """What stands as a text of its own right below an assignment."""
    for assigned, below in pairwise(body):
        name = _assigned(assigned)
        if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield name, _joined(inspect.cleandoc(str(below.value.value)))


def _assigned(node: ast.stmt) -> str:
    target = (
        node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
    )
    return target.id if isinstance(target, ast.Name) else ""


def _annotations(body: Sequence[ast.stmt]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = tuple(each.id for each in ast.walk(node.annotation) if isinstance(each, ast.Name))
            yield node.target.id, names


def _joined(text: str) -> str:
    """Paragraphs stay, line breaks within them go."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
