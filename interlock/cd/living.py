"""What an API server answers, read as far as somebody asks: of most objects of a LIST a plan needs UID and version."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
import orjson

from interlock.cd.objects import Body, Resource, version_of
from interlock.contract.render import Identity
from interlock.errors import ClusterError

_MOST_DEPTH = 200
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)


def decoded(data: bytes | memoryview) -> Any:
    """An answer's value. Somebody's object that is nested deeper than anybody reads is cut there, and hides no other.

    The claims in an object's managedFields, which whoever may write it may forge, have no bound to their depth.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "limit" not in error.msg:
            raise
        return orjson.loads(_shallow(bytes(data)))


def _shallow(data: bytes) -> bytes:
    """The same JSON, in which mappings and lists are empty below a depth."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(data):
        if token[0] in b"{[":
            depth += 1
            if depth == _MOST_DEPTH:
                kept.append(data[start : token.end()])
        elif token[0] in b"}]":
            start = token.start() if depth == _MOST_DEPTH else start
            depth -= 1
    return b"".join((*kept, data[start:]))


class Living(msgspec.Struct, gc=False):
    """One object of a LIST, whose items do not say their kind. Its body is decoded when somebody asks for it."""

    name: str
    uid: str
    version: str
    """Its resourceVersion."""
    api_version: str
    kind: str
    data: msgspec.Raw
    known: Body | None = None

    @property
    def body(self) -> Body:
        if self.known is None:
            self.known = self._decoded()
        return self.known

    def _decoded(self) -> Body:
        try:
            body: Body = decoded(memoryview(self.data))
        except ValueError as error:
            raise ClusterError(f"{self.kind}/{self.name}: the answer was not JSON", transient=True) from error
        body["apiVersion"], body["kind"] = self.api_version, self.kind
        return body


def living(body: Body) -> Living:
    """An object that is decoded already."""
    metadata = body["metadata"]
    uid, version = str(metadata.get("uid", "")), version_of(body)
    return Living(metadata["name"], uid, version, body["apiVersion"], body["kind"], msgspec.Raw(), body)


class _Metadata(msgspec.Struct):
    name: str
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815 - as the server spells it


class _Head(msgspec.Struct):
    metadata: _Metadata


class ListMetadata(msgspec.Struct):
    """Of a LIST's page: which version it is of, and what to ask for the next one."""

    version: str = msgspec.field(default="", name="resourceVersion")
    more: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class Page(msgspec.Struct):
    """Some objects of a LIST."""

    metadata: ListMetadata
    items: list[Living]


_PAGES = msgspec.json.Decoder(_Page)
_HEADS = msgspec.json.Decoder(_Head)


def page(data: bytes, resource: Resource) -> Page:
    """A page of a LIST: checked to be JSON as a whole, and decoded no further than to name its objects.

    Of an object that is nested too deeply, or names itself in another way, all is decoded at once.
    """
    try:
        read = _PAGES.decode(data)
        items = [(_HEADS.decode(each).metadata, each) for each in read.items or ()]
    except (msgspec.MsgspecError, RecursionError):
        return _whole_page(decoded(data), resource)
    kind = resource.api_version, resource.kind
    return Page(read.metadata, [Living(it.name, it.uid, it.resourceVersion, *kind, each) for it, each in items])


def _whole_page(value: Any, resource: Resource) -> Page:
    metadata, named = value["metadata"], {"apiVersion": resource.api_version, "kind": resource.kind}
    head = ListMetadata(str(metadata.get("resourceVersion", "")), metadata.get("continue") or "")
    return Page(head, [living({**body, **named}) for body in value["items"] or ()])


class Objects(Mapping[Identity, Body]):
    """Objects by identity: a mapping of bodies, each decoded when it is asked for."""

    def __init__(self, living: Mapping[Identity, Living]) -> None:
        self._living = living

    @classmethod
    def of(cls, bodies: Mapping[Identity, Body]) -> Objects:
        """Of bodies that are known."""
        return cls({identity: living(body) for identity, body in bodies.items()})

    def __getitem__(self, identity: Identity) -> Body:
        return self._living[identity].body

    def __contains__(self, identity: object) -> bool:
        return identity in self._living

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._living)

    def __len__(self) -> int:
        return len(self._living)

    def living(self, identity: Identity) -> Living | None:
        """What is known of it without decoding it."""
        return self._living.get(identity)

    def without(self, identities: Collection[Identity]) -> Objects:
        if not identities:
            return self
        return Objects({identity: each for identity, each in self._living.items() if identity not in identities})
