"""What an image registry says: asked over its HTTP API, so that nothing between us and it can say otherwise."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
import ssl
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from interlock.contract import registry_words
from interlock.contract.canonical import digest
from interlock.contract.host import Registry
from interlock.contract.oci import DOCKER_MANIFEST, MANIFEST, Descriptor
from interlock.errors import HostConfigError, InputError, RegistryError
from tasks.common.effect import effect
from tasks.common.redaction import know

_SECONDS = 60.0
_LONGEST_SECONDS = 600.0
"""How long one answer may go on."""
_MOST_BYTES = 4 << 20
_MOST_ANSWERED = 65 << 20
"""The largest that is asked for is a bill of materials."""
_TOKEN = re.compile(r"[!-~]+")
_IMAGES = (DOCKER_MANIFEST, MANIFEST)


@dataclass(frozen=True)
class Login:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Manifest:
    """An image's manifest. `config` is the digest of its configuration, which is the image's id."""

    digest: str
    config: str
    media_type: str
    size: int

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size)


def read_login(path: Path | None) -> Login | None:
    """The account in an auth file of one line, `user:password`."""
    if path is None:
        return None
    try:
        user, colon, password = path.read_text().strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        raise HostConfigError(f"{path}: the registry's auth file cannot be read: {error}") from None
    if not colon or "\n" in password:
        raise HostConfigError(f"{path}: the auth file must hold one line, `user:password`")
    know(password, base64.b64encode(f"{user}:{password}".encode()))
    return Login(user, password)


@effect(name="look up image", retries=2)
def find_image(registry: Registry, *, repository: str, tag: str) -> Manifest | None:
    """The image under a tag, or None when there is none yet. `repository` begins with the registry's host."""
    with connected(registry) as http:
        return read_manifest(http, path_in(registry, repository), tag)


@effect(name="find given image", retries=2)
def require_image(registry: Registry, *, image: str) -> Manifest:
    """An image by digest; InputError when the registry does not have it."""
    repository, _, image_digest = image.partition("@")
    with connected(registry) as http:
        found = read_manifest(http, path_in(registry, repository), image_digest)
    if found is None or found.digest != image_digest:
        raise InputError(
            f"{image}: the registry does not have it", hint="push it first, and give the digest it printed"
        )
    return found


@effect(name="compare pushed image", retries=2)
def confirm_image(registry: Registry, *, repository: str, image_digest: str, image_id: str) -> None:
    """RegistryError unless what the registry keeps under this digest is the image that was scanned."""
    with connected(registry) as http:
        found = read_manifest(http, path_in(registry, repository), image_digest)
    if found is None:
        raise RegistryError(
            f"{repository}@{image_digest[:19]}: the registry does not have it after the push",
            hint="does something collect its garbage meanwhile? the next run pushes again",
        )
    if found.digest != image_digest:
        raise RegistryError(
            f"{repository}@{image_digest[:19]}: the registry gives something else under this digest, "
            f"with the digest {found.digest[:19]}",
            hint="nothing of it can be trusted: find out who changes what it keeps or answers",
        )
    if found.config != image_id:
        raise RegistryError(
            f"{repository}@{image_digest[:19]} is not the image that was scanned: "
            f"it has the configuration {found.config[:19]}, the scanned one {image_id[:19]}",
            hint="somebody exchanged the image between scan and push; find out who may reach the daemon",
        )


def read_manifest(http: httpx.Client, path: str, reference: str) -> Manifest | None:
    """An image's, by its tag or digest; None when there is none.

    An index is no image, also where it has a configuration beside its manifests: which of them runs, the node decides.
    """
    content, media_type = read_content(http, path, reference, _IMAGES)
    if content is None:
        return None
    try:
        config = _configuration(json.loads(content), media_type)
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"{path}:{reference} is not the manifest of one image") from None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", str(config)):
        raise RegistryError(f"{path}:{reference} has a manifest that is not understood")
    return Manifest(digest(content), config, media_type, len(content))


def _configuration(manifest: Mapping[str, Any], media_type: str) -> str:
    """ValueError for an index."""
    if "manifests" in manifest or not {media_type, manifest.get("mediaType", media_type)} <= set(_IMAGES):
        raise ValueError(media_type)
    return str(manifest["config"]["digest"])


def read_content(http: httpx.Client, path: str, reference: str, media_types: Iterable[str]) -> tuple[bytes | None, str]:
    """A manifest's bytes and media type; None when there is none. At most a few MiB are read."""
    with http.stream("GET", f"/v2/{path}/manifests/{reference}", headers={"Accept": ", ".join(media_types)}) as answer:
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None, ""
        content = _bounded(answer, _MOST_BYTES, what=f"reading {path}:{reference}")
    return content, answer.headers.get("Content-Type", "").partition(";")[0]


def read_blob(http: httpx.Client, path: str, name: str, *, most: int) -> bytes:
    """A blob by its digest, which its bytes must have, wherever the registry sends us for them."""
    with http.stream("GET", f"/v2/{path}/blobs/{name}", follow_redirects=True) as answer:
        content = _bounded(answer, most, what=f"reading {path}@{name[:19]}")
    if digest(content) != name:
        raise RegistryError(f"{path}@{name[:19]}: the registry gives other bytes, with the digest {digest(content)}")
    return content


def _bounded(answer: httpx.Response, most: int, *, what: str) -> bytes:
    if not answer.is_success:
        answer.read()
    require(answer, what)
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > most:
            raise RegistryError(f"{what}: it has more than {most >> 20} MiB")
    return bytes(content)


def upload(http: httpx.Client, path: str, blob: bytes) -> None:
    """Store a blob unless it is there."""
    name = digest(blob)
    if http.head(f"/v2/{path}/blobs/{name}").status_code == httpx.codes.OK:
        return
    begun = require(http.post(f"/v2/{path}/blobs/uploads/"), f"uploading to {path}")
    # The registry may add its own parameters to the address.
    if not (location := begun.headers.get("Location", "")):
        raise RegistryError(f"uploading to {path}: the registry does not say where to")
    target = http.base_url.join(location).copy_add_param("digest", name)
    if target.host != http.base_url.host:
        raise RegistryError(f"uploading to {path}: the registry sends us to {target.host}")
    require(
        http.put(target, content=blob, headers={"Content-Type": "application/octet-stream"}), f"uploading to {path}"
    )


@contextlib.contextmanager
def connected(registry: Registry) -> Iterator[httpx.Client]:
    """A client for the registry's API; what goes wrong on the way becomes a RegistryError."""
    login = read_login(registry.auth)
    scheme = "http" if registry.insecure else "https"
    try:
        with httpx.Client(
            base_url=f"{scheme}://{registry.host}",
            auth=_Auth(login) if login else None,
            timeout=_SECONDS,
            trust_env=False,
            transport=_Bounded(),
        ) as http:
            yield http
    except httpx.TimeoutException as error:
        raise RegistryError(
            f"registry {registry.host}: it did not answer within {_SECONDS:.0f} s",
            hint="is it up, or too busy? the next run goes on from here",
            transient=True,
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RegistryError(
            f"registry {registry.host}: {error or type(error).__name__}", hint="is it up?", transient=True
        ) from error


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Read once: a release asks the registry a dozen times, and reading them takes longer than most answers."""
    return httpx.create_ssl_context(trust_env=False)


class _Bounded(httpx.BaseTransport):
    """No more of an answer than anybody here has use for, not packed, and not for ever: whoever answers."""

    def __init__(self) -> None:
        self._plain = httpx.HTTPTransport(verify=_trusted(), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Accept-Encoding"] = "identity"
        answer = self._plain.handle_request(request)
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            answer.close()
            raise httpx.DecodingError("it packs its answer, though it was asked not to", request=request)
        assert isinstance(answer.stream, httpx.SyncByteStream)  # noqa: S101 - of a synchronous transport
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Stream(answer.stream, request),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._plain.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, given: httpx.SyncByteStream, request: httpx.Request) -> None:
        self._given, self._request = given, request

    def __iter__(self) -> Iterator[bytes]:
        until, left = time.monotonic() + _LONGEST_SECONDS, _MOST_ANSWERED
        for piece in self._given:
            left -= len(piece)
            if left < 0:
                raise httpx.ReadError(f"it answers more than {_MOST_ANSWERED >> 20} MiB", request=self._request)
            if time.monotonic() > until:
                raise httpx.ReadTimeout("it does not come to an end", request=self._request)
            yield piece

    def close(self) -> None:
        self._given.close()


class _Auth(httpx.Auth):
    """The login where it is asked for: as Basic, or for a token of the server that the registry names."""

    def __init__(self, login: Login) -> None:
        self._basic = httpx.BasicAuth(login.user, login.password)
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        registry = request.url.copy_with(raw_path=b"/")
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
        else:
            response = yield next(self._basic.auth_flow(request))
        # Where the registry redirects to, such as a storage, has no say about where the password goes.
        own = response.request.url.copy_with(raw_path=b"/") == registry
        challenge = _challenge(response) if own else {}
        if challenge and challenge["realm"].startswith("https://"):
            parameters = {key: challenge[key] for key in ("service", "scope") if key in challenge}
            asked = httpx.Request("GET", httpx.URL(challenge["realm"], params=parameters))
            answer = yield next(self._basic.auth_flow(asked))
            answer.read()
            if answer.is_success:
                self._token = _token(answer)
                know(self._token)
                request.headers["Authorization"] = f"Bearer {self._token}"
                yield request


def _token(answer: httpx.Response) -> str:
    try:
        given = answer.json()
    except ValueError:
        given = None
    token = (given.get("token") or given.get("access_token")) if isinstance(given, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise RegistryError(f"{answer.request.url.host}, where the registry sends us for a token, gives none")
    return token


def _challenge(response: httpx.Response) -> dict[str, str]:
    header = response.headers.get("WWW-Authenticate", "")
    if response.status_code != httpx.codes.UNAUTHORIZED or not header.lower().startswith("bearer "):
        return {}
    found = dict(re.findall(r'(\w+)="([^"]*)"', header))
    return found if "realm" in found else {}


def require(answer: httpx.Response, what: str) -> httpx.Response:
    """The answer, when it is a good one."""
    if answer.is_success:
        return answer
    said = f"{answer.status_code}: {answer.text[:300]}"
    hint, transient = registry_words.explain(said)
    if answer.status_code < 500 and answer.status_code not in (401, 403, 429):
        hint, transient = "", False
    raise RegistryError(
        f"{what}: the registry {answer.url.netloc.decode()} answers {said}", hint=hint, transient=transient
    )


def path_in(registry: Registry, repository: str) -> str:
    """The repository's name within the registry, which must be this host's."""
    host, _, path = repository.partition("/")
    if host != registry.host:
        raise HostConfigError(
            f"a binding asks for images at {host}, but this host pushes to {registry.host}",
            hint="correct `image` in trust/bindings.yaml, or the registry's host in ci.yaml",
        )
    return path
