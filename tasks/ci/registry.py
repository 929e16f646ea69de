"""What an image registry says: asked over its HTTP API, so that nothing between us and it can say otherwise."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from interlock.ci import registry_words
from interlock.ci.host import Registry
from interlock.ci.oci import DOCKER_MANIFEST, MANIFEST, Descriptor
from interlock.contract.canonical import digest
from interlock.errors import HostConfigError, RegistryError
from tasks.common.effect import effect

_SECONDS = 60.0
_MOST_BYTES = 4 << 20
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
    return Login(user, password)


@effect(name="look up image", retries=2)
def find_image(registry: Registry, *, repository: str, tag: str) -> Manifest | None:
    """The image under a tag, or None when there is none yet. `repository` begins with the registry's host."""
    with connected(registry) as http:
        return read_manifest(http, path_in(registry, repository), tag)


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
    """An image's, by its tag or digest; None when there is none."""
    content, media_type = read_content(http, path, reference, _IMAGES)
    if content is None:
        return None
    try:
        config = json.loads(content)["config"]["digest"]
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"{path}:{reference} is not the manifest of one image") from None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", str(config)):
        raise RegistryError(f"{path}:{reference} has a manifest that is not understood")
    return Manifest(digest(content), config, media_type, len(content))


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
    target = http.base_url.join(begun.headers["Location"]).copy_add_param("digest", name)
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
        ) as http:
            yield http
    except httpx.TimeoutException as error:
        raise RegistryError(
            f"registry {registry.host}: it did not answer within {_SECONDS:.0f} s",
            hint="is it up, or too busy? the next run goes on from here",
            transient=True,
        ) from error
    except httpx.HTTPError as error:
        raise RegistryError(
            f"registry {registry.host}: {error or type(error).__name__}", hint="is it up?", transient=True
        ) from error


class _Auth(httpx.Auth):
    """The login where it is asked for: as Basic, or for a token of the server that the registry names."""

    def __init__(self, login: Login) -> None:
        self._basic = httpx.BasicAuth(login.user, login.password)
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
        else:
            response = yield next(self._basic.auth_flow(request))
        challenge = _challenge(response)
        if challenge and challenge["realm"].startswith("https://"):
            parameters = {key: challenge[key] for key in ("service", "scope") if key in challenge}
            asked = httpx.Request("GET", httpx.URL(challenge["realm"], params=parameters))
            answer = yield next(self._basic.auth_flow(asked))
            answer.read()
            if answer.is_success:
                given: Mapping[str, Any] = answer.json()
                self._token = str(given.get("token") or given.get("access_token") or "")
                request.headers["Authorization"] = f"Bearer {self._token}"
                yield request


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
