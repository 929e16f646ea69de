"""What no schema says and the API server asks for all the same: names, labels, annotations, the keys of data.

The forms are those of `k8s.io/apimachinery/pkg/util/validation`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from interlock.contract.placeholder import FORM
from interlock.contract.schema import Problem
from interlock.contract.strict_yaml import Path
from interlock.contract.workloads import TEMPLATES, mapping

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WORD = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_MOST_LABEL, _MOST_SUBDOMAIN = 63, 253
_MOST_ANNOTATIONS = 256 << 10

_LONGEST = {("batch", "CronJob"): 52, ("", "Namespace"): _MOST_LABEL, ("", "Service"): _MOST_LABEL}
"""A CronJob's Jobs get eleven more characters."""


def problems(body: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What the API server would refuse in any object of this kind, whatever its schema."""
    kind = body["apiVersion"].rpartition("/")[0], body["kind"]
    found = [*_name(kind, body["metadata"]["name"]), *_marks(body["metadata"], ("metadata",))]
    if template := TEMPLATES.get(kind):
        metadata = mapping(body, (*template, "metadata"))
        found += _marks(metadata, (*template, "metadata"))
        found += _selector(body, metadata)
    if kind in {("", "ConfigMap"), ("", "Secret")}:
        found += _data(body)
    return tuple(found)


def _name(kind: tuple[str, str], name: str) -> Iterator[Problem]:
    where: Path = ("metadata", "name")
    if kind[0] == "rbac.authorization.k8s.io":
        return  # any name that can stand in a path
    longest = _LONGEST.get(kind, _MOST_SUBDOMAIN)
    form, dots = (_LABEL, "") if longest == _MOST_LABEL else (_SUBDOMAIN, " and `.`")
    if not form.fullmatch(name):
        yield Problem(where, f"is no name for a {kind[1]}", f"lower-case letters, digits, `-`{dots}")
    elif len(name) > longest:
        yield Problem(where, f"has {len(name)} characters, and a {kind[1]}'s name at most {longest}")


def _marks(metadata: Mapping[str, Any], where: Path) -> Iterator[Problem]:
    labels, annotations = mapping(metadata, ("labels",)), mapping(metadata, ("annotations",))
    for field, entries in (("labels", labels), ("annotations", annotations)):
        yield from (
            Problem((*where, field, key), f"is no name for one of {field}", _KEY) for key in entries if not _is_key(key)
        )
    for key, value in labels.items():
        if isinstance(value, str) and value and not (_WORD.fullmatch(value) and len(value) <= _MOST_LABEL):
            yield Problem((*where, "labels", key), "is no label's value", _VALUE)
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    if size > _MOST_ANNOTATIONS:
        yield Problem((*where, "annotations"), f"are {size} bytes in all, at most {_MOST_ANNOTATIONS} are taken")


_KEY = "letters, digits, `-`, `_`, `.`, at most 63; before a `/` a domain"
_VALUE = "letters, digits, `-`, `_`, `.`, at most 63, with a letter or digit at both ends"


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not (_SUBDOMAIN.fullmatch(prefix.lower()) and len(prefix) <= _MOST_SUBDOMAIN):
        return False
    return bool(_WORD.fullmatch(name)) and len(name) <= _MOST_LABEL


def _selector(body: Mapping[str, Any], template: Mapping[str, Any]) -> Iterator[Problem]:
    """A workload that would not select its own pods is refused."""
    labels = mapping(template, ("labels",))
    if body["apiVersion"] != "apps/v1":
        return
    for key, value in mapping(body, ("spec", "selector", "matchLabels")).items():
        if labels.get(key) != value:
            where: Path = ("spec", "selector", "matchLabels", key)
            yield Problem(where, "the pods of spec.template do not carry this label", "give both the same")


def _data(body: Mapping[str, Any]) -> Iterator[Problem]:
    for field in ("data", "stringData", "binaryData"):
        for key, value in mapping(body, (field,)).items():
            where: Path = (field, key)
            if not _DATA_KEY.fullmatch(key) or len(key) > _MOST_SUBDOMAIN or key in {".", ".."}:
                yield Problem(where, "is no key for data", "letters, digits, `-`, `_`, `.`")
            encoded = field == "binaryData" or (field == "data" and body["kind"] == "Secret")
            if encoded and isinstance(value, str) and not (FORM.fullmatch(value) or _is_base64(value)):
                yield Problem(where, "is not base64", "write plain text into stringData" if field == "data" else "")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
