"""What an image registry says: asked over its HTTP API, so that nothing between us and it can say otherwise."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from interlock.ci.host import Registry
from interlock.contract.canonical import canonical, digest
from interlock.errors import HostConfigError, RegistryError
from tasks.common.effect import effect

_SECONDS = 60.0
_MOST_BYTES = 4 << 20
_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
SBOM_TYPE = "application/vnd.cyclonedx+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"


@dataclass(frozen=True)
class Login:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Manifest:
    """An image's manifest. `config` is the digest of its configuration, which is the image's id."""

    digest: str
    config: str


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
    with _registry(registry) as http:
        return _manifest(http, _path(registry, repository), tag)


@effect(name="compare pushed image", retries=2)
def confirm_image(registry: Registry, *, repository: str, image_digest: str, image_id: str) -> None:
    """RegistryError unless what the registry keeps under this digest is the image that was scanned."""
    with _registry(registry) as http:
        found = _manifest(http, _path(registry, repository), image_digest)
    if found is None:
        raise RegistryError(f"{repository}@{image_digest[:19]}: the registry does not have it after the push")
    if found.digest != image_digest or found.config != image_id:
        raise RegistryError(
            f"{repository}@{image_digest[:19]} is not the image that was scanned: "
            f"it has the configuration {found.config[:19]}, the scanned one {image_id[:19]}",
            hint="somebody exchanged the image between scan and push; find out who may reach the daemon",
        )


@effect(name="store bill of materials", retries=2)
def store_sbom(registry: Registry, *, repository: str, image_digest: str, sbom: bytes) -> str:
    """Keep a CycloneDX document beside its image, under the tag `sha256-<hex>.sbom`; where it can be fetched."""
    path = _path(registry, repository)
    with _registry(registry) as http:
        for blob in (_EMPTY, sbom):
            _upload(http, path, blob)
        manifest = canonical(_sbom_manifest(sbom))
        tag = image_digest.replace(":", "-") + ".sbom"
        headers = {"Content-Type": _MANIFESTS[1]}
        _require(http.put(f"/v2/{path}/manifests/{tag}", content=manifest, headers=headers), f"storing {tag}")
    return f"{repository}@{digest(manifest)}"


def _sbom_manifest(sbom: bytes) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFESTS[1],
        "config": {"mediaType": _EMPTY_TYPE, "digest": digest(_EMPTY), "size": len(_EMPTY)},
        "layers": [{"mediaType": SBOM_TYPE, "digest": digest(sbom), "size": len(sbom)}],
    }


def _upload(http: httpx.Client, path: str, blob: bytes) -> None:
    name = digest(blob)
    if http.head(f"/v2/{path}/blobs/{name}").status_code == httpx.codes.OK:
        return
    begun = _require(http.post(f"/v2/{path}/blobs/uploads/"), f"uploading to {path}")
    # The registry may add its own parameters to the address.
    target = http.base_url.join(begun.headers["Location"]).copy_add_param("digest", name)
    if target.host != http.base_url.host:
        raise RegistryError(f"uploading to {path}: the registry sends us to {target.host}")
    _require(
        http.put(target, content=blob, headers={"Content-Type": "application/octet-stream"}), f"uploading to {path}"
    )


def _manifest(http: httpx.Client, path: str, reference: str) -> Manifest | None:
    answer = http.get(f"/v2/{path}/manifests/{reference}", headers={"Accept": ", ".join(_MANIFESTS)})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    content = _require(answer, f"reading {path}:{reference}").content
    try:
        config = json.loads(content)["config"]["digest"]
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"{path}:{reference} is not the manifest of one image") from None
    if len(content) > _MOST_BYTES or not re.fullmatch(r"sha256:[0-9a-f]{64}", str(config)):
        raise RegistryError(f"{path}:{reference} has a manifest that is not understood")
    return Manifest(digest(content), config)


@contextlib.contextmanager
def _registry(registry: Registry) -> Iterator[httpx.Client]:
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
    except httpx.HTTPError as error:
        raise RegistryError(
            f"registry {registry.host}: {error or type(error).__name__}", hint="is it up?", transient=True
        ) from error


class _Auth(httpx.Auth):
    """The login where it is asked for: as Basic, or for a token of the server that the registry names."""

    requires_response_body = True

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


def _require(answer: httpx.Response, what: str) -> httpx.Response:
    if answer.is_success:
        return answer
    hint = "check the registry's `auth` file" if answer.status_code in (401, 403) else ""
    raise RegistryError(
        f"{what}: the registry answers {answer.status_code}: {answer.text[:300]}",
        hint=hint,
        transient=answer.status_code == 429 or answer.status_code >= 500,
    )


def _path(registry: Registry, repository: str) -> str:
    host, _, path = repository.partition("/")
    if host != registry.host:
        raise HostConfigError(
            f"a binding asks for images at {host}, but this host pushes to {registry.host}",
            hint="correct `image` in trust/bindings.yaml, or the registry's host in ci.yaml",
        )
    return path
