"""Building, finding and pushing images with a Docker daemon."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker
import docker.errors
import docker.types
import docker.utils
import requests
import requests.exceptions
import urllib3.exceptions

from interlock.ci.build_key import Content, bases_label, inputs_digest
from interlock.ci.builder import builder_label, built_with
from interlock.ci.dockerfile import require_local
from interlock.ci.host import BuildLimits
from interlock.ci.references import (
    Recipe,
    Reference,
    read_references,
    require_allowed,
    require_arguments,
    require_quiet,
    require_services,
)
from interlock.contract import registry_words
from interlock.contract.build_sources import full_name, repository_of
from interlock.contract.canonical import digest
from interlock.contract.evidence import Base
from interlock.contract.models import BuildRules, Component
from interlock.errors import DockerError, FormatError, InputError
from tasks.ci import buildx
from tasks.ci.build_log import LINE, QUOTED_LINES, Say, quoted, say_some
from tasks.ci.buildx import Via
from tasks.ci.kept_log import Keep, LogPlace, keeping
from tasks.common.effect import effect
from tasks.common.registry import read_login
from tasks.common.stopping import stopped_by

RUN_LABEL = "interlock.run"
_PERIOD_MICROSECONDS = 100_000
_LONGEST_LINE = 1 << 16
_KILLED = "the step was killed: let it take less memory, or raise `build_limits` in ci.yaml"
_ANSWER_SECONDS = 120
_BEGUN = re.compile(r" ---> Running in ([0-9a-f]{12})")
_ROOM = "make room on the Docker daemon's disk, such as with `docker system prune`"
_RETURN_SECONDS = 20.0
"""How long a daemon that went away is waited for, so that it can be told to remove what a build left."""

# What is read while it comes is not wrapped by requests.
_SILENT = (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
_BROKEN = (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError)

Client = docker.DockerClient
Ulimit = docker.types.Ulimit
LogConfig = docker.types.LogConfig
APIError = docker.errors.APIError
Missing = docker.errors.NotFound
"""The daemon has no such image, container or path."""


def _keep_quiet(_line: str) -> None: ...


@dataclass(frozen=True)
class Image:
    """An image in the daemon. `id` is the digest of its configuration."""

    id: str
    size: int
    labels: Mapping[str, str]


@contextlib.contextmanager
def daemon(url: str, *, timeout: int = _ANSWER_SECONDS) -> Iterator[Client]:
    """A client for the daemon; whatever goes wrong with it becomes a DockerError.

    When the step is stopped, what the daemon is answering is cut off, by which it ends a build, a push, a pull.
    """
    client: Client | None = None
    answers: list[requests.Response] = []
    try:
        client = Client(base_url=url, version="auto", timeout=timeout)
        client.api.hooks["response"].append(lambda answer, **_: answers.append(answer))
        with stopped_by(lambda: [answer.raw.shutdown() for answer in answers if not answer.raw.closed]):
            yield client
    except docker.errors.APIError as error:
        said = str(error.explanation or error)
        full = registry_words.is_full(said)
        hint = _ROOM if full else ""
        transient = error.is_server_error() and not full
        raise DockerError(f"docker at {url}: {said}", hint=hint, transient=transient) from error
    except _SILENT as error:
        raise DockerError(
            f"docker at {url}: it gave no answer for {timeout} s", hint="see the daemon's log", transient=True
        ) from error
    except _BROKEN as error:
        raise DockerError(
            f"docker at {url}: it went away in the middle of an answer",
            hint="was the daemon restarted? the next run begins again",
            transient=True,
        ) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise DockerError(
            f"docker at {url}: {error}", hint="does the daemon run, and may this user use its socket?", transient=True
        ) from error
    finally:
        for answer in answers:
            answer.close()  # else the daemon goes on with what nobody reads to its end
        if client is not None:
            client.close()


@effect(name="build image", retries=1)
def build_image(
    url: str,
    source: Path,
    component: Component,
    *,
    tag: str,
    labels: Mapping[str, str],
    seconds: int,
    say: Say,
    rules: Sequence[BuildRules] = (BuildRules(),),
    epoch: int | None = None,
    via: Via | None = None,
    work: Path | None = None,
    limits: BuildLimits | None = None,
    log: LogPlace | None = None,
) -> Image:
    """Build with BuildKit, or without `via` with the classic builder: no network in any step, leftovers removed.

    `source` is the checked-out tree; `work` a folder that goes when this process is killed. Every image that the
    Dockerfile names is looked up once, and the build uses what was found then. FormatError with the line of what
    cannot be told or resolved, or what no one of `rules` allows; DockerError ends with the failing step and the log's
    last lines. The image says itself what it stands on. `limits` are of the classic builder's steps.
    `log` is where all that it prints is kept.
    """
    recipe = read_recipe(source, component, rules, buildkit=via is not None)
    order = _Order(
        source, component, recipe, tag, seconds, say, epoch=epoch, target=component.target, work=work, limits=limits
    )
    with keeping(log) as keep, _nothing_left(url) as seen, daemon(url, timeout=seconds) as client:
        order = replace(order, keep=keep)
        bases = _bases(client, recipe, via, say)
        stands_on = bases_label((*bases.values(), *_addresses(recipe)))
        made_by = builder_label(built_with(via.settings if via else None))
        said = {**labels, **_created(epoch), **stands_on, **made_by}
        if via is None:
            return _built(client, order, recipe.pinned({name: base.id for name, base in bases.items()}), said, seen)
        return _built_by_buildkit(client, order, _by_digest(recipe, bases), said, via=via, url=url)


def _created(epoch: int | None) -> dict[str, str]:
    """As the image format wants it; the commit's time, since the same inputs shall give the same image."""
    if epoch is None:
        return {}
    return {"org.opencontainers.image.created": dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _bases(client: Client, recipe: Recipe, via: Via | None, say: Say) -> dict[str, Base]:
    """What every name of an image or frontend stands for."""
    wanted = (*recipe.of("image"), *recipe.of("frontend"))
    return {each.name: _resolved(client, each, recipe.path, say, via=via) for each in wanted}


def _addresses(recipe: Recipe) -> list[Base]:
    return [Base(each.name, "", each.digest, each.kind) for each in recipe.of("address")]


def _by_digest(recipe: Recipe, bases: Mapping[str, Base], *, instead: Mapping[Reference, str] | None = None) -> str:
    """BuildKit fetches its images itself, so it must be told the registry's digest."""
    for each in recipe.references:
        if each.kind != "address" and not bases[each.name].digest:
            raise FormatError(
                f"{each.name} is in no registry, and BuildKit takes images only from there",
                path=recipe.path,
                line=each.line,
                hint="push it to a registry, and name it there; or say `builder: daemon` in ci.yaml",
            )
    names = {name: f"{repository_of(name)}@{base.digest}" for name, base in bases.items()}
    return recipe.pinned(names, instead=instead)


@effect(name="build test image", retries=1)
def build_test_image(
    url: str,
    source: Path,
    component: Component,
    *,
    on: str,
    tag: str,
    run: str,
    seconds: int,
    say: Say,
    rules: Sequence[BuildRules],
    via: Via | None = None,
    work: Path | None = None,
    limits: BuildLimits | None = None,
    log: LogPlace | None = None,
) -> Image:
    """The image that the tests' stage makes, with the image `on`, which ships, in the place of the stage below it.

    With BuildKit, by the daemon's own: only that one has the image.
    """
    assert component.target is not None and component.tests.target is not None  # noqa: S101 - the model's rule
    recipe = read_recipe(source, component, rules, buildkit=via is not None)
    order = _Order(
        source,
        component,
        recipe,
        tag,
        seconds,
        say,
        epoch=None,
        target=component.tests.target,
        work=work,
        limits=limits,
    )
    below = recipe.standing_on(component.target, stage=component.tests.target)
    with keeping(log) as keep, _nothing_left(url) as seen, daemon(url, timeout=seconds) as client:
        order = replace(order, keep=keep)
        bases = _bases(client, recipe, via, say)
        if via is None:
            names = {name: base.id for name, base in bases.items()}
            return _built(client, order, recipe.pinned(names, instead={below: on}), {RUN_LABEL: run}, seen)
        with _named(client, on, run) as name:
            text = _by_digest(recipe, bases, instead={below: name})
            made = _built_by_buildkit(client, order, text, {RUN_LABEL: run}, via=via, url=url, own=True)
        _require_on(client, made.id, on)
        return made


@dataclass(frozen=True)
class _Order:
    """What is to be built."""

    source: Path
    component: Component
    recipe: Recipe
    tag: str
    seconds: int
    say: Say
    epoch: int | None
    target: str | None
    work: Path | None
    limits: BuildLimits | None
    keep: Keep = _keep_quiet


def _built(client: Client, order: _Order, dockerfile: str, labels: Mapping[str, str], log: _Log) -> Image:
    with tempfile.TemporaryDirectory(prefix="build-", dir=order.work) as folder:
        path = Path(folder) / "Dockerfile"
        path.write_bytes(dockerfile.encode(*_BYTES))
        if order.limits:
            # The SDK has no argument for this limit; what stands here it says with every request, and only builds heed.
            period = _PERIOD_MICROSECONDS
            client.api.params = {"cpuperiod": period, "cpuquota": int(order.limits.processors * period)}
        stream = client.api.build(
            path=str(order.source / order.component.context),
            dockerfile=str(path),
            tag=order.tag,
            target=order.target,
            buildargs=dict(order.component.arguments),
            rm=True,
            forcerm=True,
            pull=False,
            network_mode="none",
            labels=dict(labels),
            container_limits=_memory(order.limits),  # type: ignore[arg-type] # the stubs want every limit there is
            decode=True,
            timeout=order.seconds,
        )
        _follow_build(stream, order, log)
        return _image(client, order.tag)


def _memory(limits: BuildLimits | None) -> dict[str, int] | None:
    """As much with what is swapped out as without: nothing is."""
    return dict.fromkeys(("memory", "memswap"), limits.memory_mib << 20) if limits else None


@contextlib.contextmanager
def _nothing_left(url: str) -> Iterator[_Log]:
    """A build's log. When it fails, and the daemon was told so, its last step's container does not stay.

    The daemon removes it itself, unless it is killed: then it is there when it has come back.
    """
    log = _Log()
    try:
        yield log
    except DockerError:
        ends = time.monotonic() + _RETURN_SECONDS
        while log.container and not _removed(url, log.container) and time.monotonic() < ends:
            time.sleep(1)
        raise


def _removed(url: str, container: str) -> bool:
    with contextlib.suppress(DockerError), daemon(url) as client:
        with contextlib.suppress(Missing):
            client.api.remove_container(container, force=True, v=True)
        return True
    return False


@effect(name="digest build inputs", retries=1)
def digest_inputs(
    url: str,
    source: Path,
    component: Component,
    *,
    say: Say,
    rules: Sequence[BuildRules] = (BuildRules(),),
    via: Via | None = None,
) -> str:
    """Of all that `build_image` would read: the context without what it ignores, the Dockerfile, what that names."""
    recipe = read_recipe(source, component, rules, buildkit=via is not None)
    with daemon(url) as client:
        bases = (*_bases(client, recipe, via, say).values(), *_addresses(recipe))
    return inputs_digest(dict(_context(source, component)), recipe.text, bases)


def _context(source: Path, component: Component) -> Iterator[tuple[str, Content]]:
    """What the builder gets, by the rules of the SDK that sends it."""
    root = source / component.context
    for name in docker.utils.exclude_paths(str(root), _ignored(source, component), dockerfile=".dockerfile"):
        path = root / name
        if path.is_symlink():
            yield name, Content(digest(str(path.readlink()).encode("utf-8", "surrogateescape")), "link")
        elif path.is_file():
            content = digest(path.read_bytes())
            yield name, Content(content, "program" if path.stat().st_mode & stat.S_IXUSR else "file")
        elif path.is_dir():
            yield name, Content("", "folder")


def _ignored(source: Path, component: Component) -> list[str]:
    """Nothing where BuildKit would read rules that other builders do not know: then every file counts."""
    path = source / component.context / ".dockerignore"
    if not path.is_file() or (source / f"{component.dockerfile}.dockerignore").exists():
        return []
    lines = (line.strip() for line in path.read_text(errors="surrogateescape").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


_BYTES = ("utf-8", "surrogateescape")
"""A Dockerfile's bytes come back as they were, whatever they are."""


def _built_by_buildkit(
    client: Client, order: _Order, dockerfile: str, labels: Mapping[str, str], *, via: Via, url: str, own: bool = False
) -> Image:
    """Loaded into the daemon, when another than its own BuildKit has made it."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=order.work) as folder:
        path = Path(folder) / "Dockerfile"
        path.write_bytes(dockerfile.encode(*_BYTES))
        ignored = order.source / f"{order.component.dockerfile}.dockerignore"
        if ignored.is_file():
            path.with_name("Dockerfile.dockerignore").write_bytes(ignored.read_bytes())
        wanted = buildx.Build(
            folder=Path(folder),
            dockerfile=path,
            context=order.source / order.component.context,
            tag=order.tag,
            target=order.target,
            arguments=order.component.arguments,
            labels=labels,
            seconds=order.seconds,
            epoch=order.epoch,
        )
        archive = buildx.build(url, via, wanted, order.say, keep=order.keep, own=own)
        if archive:
            with archive.open("rb") as file:
                for message in client.api.load_image(file):  # type: ignore[no-untyped-call]
                    if "error" in message:
                        raise _build_failed(order.tag, message["error"], _Log(step="loading it"))
                    order.say(str(message.get("stream", "")).strip())
    try:
        _require_without_secrets(client, order, via)
    except InputError:
        client.api.remove_image(order.tag, force=True)
        raise
    return _image(client, order.tag)


def _require_without_secrets(client: Client, order: _Order, via: Via) -> None:
    """InputError when a step has copied a secret into the image: its layers, history and settings are all looked at."""
    secrets = {name: buildx.read_secret(path) for name, path in via.secrets.items()}
    if not secrets:
        return
    kept, longest = b"", max(map(len, secrets.values()))
    for chunk in client.api.get_image(order.tag):
        kept += chunk
        for name, value in secrets.items():
            if value in kept:
                raise InputError(
                    f"{order.component.dockerfile}: the build secret {name} lies in the image that it makes",
                    hint="use it where it is mounted, and copy it nowhere",
                )
        kept = kept[-longest:]


_SHIPPED = "interlock-test/shipped"


def _shipped_names(client: Client, run: str) -> list[str]:
    names = [name for image in client.api.images(name=_SHIPPED) for name in image["RepoTags"] or ()]
    return [name for name in names if name.startswith(f"{_SHIPPED}:{run}-")]


@contextlib.contextmanager
def _named(client: Client, image_id: str, run: str) -> Iterator[str]:
    """The image under a name for a while: BuildKit knows the daemon's images by name only."""
    tag = f"{run}-{uuid4().hex[:8]}"
    client.api.tag(image_id, _SHIPPED, tag)
    try:
        yield f"{_SHIPPED}:{tag}"
    finally:
        with contextlib.suppress(Missing):
            client.api.remove_image(f"{_SHIPPED}:{tag}")


def _require_on(client: Client, image_id: str, below: str) -> None:
    """DockerError unless the image has the layers of the one below it, first."""
    above, under = (client.images.get(each).attrs["RootFS"]["Layers"] for each in (image_id, below))
    if above[: len(under)] != under:
        raise DockerError(f"the tests' image {image_id[:19]} does not stand on {below[:19]}, which ships")


def read_recipe(source: Path, component: Component, rules: Sequence[BuildRules], *, buildkit: bool = False) -> Recipe:
    """The component's Dockerfile; the classic builder has no frontends, heredocs and ADD from elsewhere."""
    path = source / component.dockerfile
    if not path.is_file():
        raise FormatError("the Dockerfile is missing", path=component.dockerfile)
    text = path.read_bytes().decode(*_BYTES)
    if not buildkit:
        require_local(text, path=component.dockerfile)
    recipe = read_references(text, path=component.dockerfile, arguments=component.arguments)
    if not buildkit:
        recipe = recipe.without_frontend()
    if recipe.heredoc and not buildkit:
        raise FormatError(
            "a heredoc needs BuildKit",
            path=recipe.path,
            line=recipe.heredoc,
            hint="COPY a file, or build with BuildKit",
        )
    if component.target:
        recipe.stage(component.target)
    require_allowed(recipe, rules)
    require_arguments(sorted(component.arguments), rules)
    require_services(component.tests.services, rules)
    return recipe


def _resolved(client: Client, reference: Reference, path: str, say: Say, *, via: Via | None = None) -> Base:
    """What this name stands for now; its ONBUILD instructions may fetch nothing."""
    name = reference.name
    try:
        found = _found(client, name, via, say)
    except docker.errors.APIError as error:
        told = f"{name} cannot be resolved: {error.explanation or error}"
        if error.is_server_error():
            raise DockerError(f"{path}:{reference.line}: {told}", transient=True) from error
        raise FormatError(told, path=path, line=reference.line, hint="is there such an image?") from error
    if reference.is_base:
        triggers = found.attrs.get("Config", {}).get("OnBuild") or ()
        require_quiet(triggers, name=name, path=path, line=reference.line)
    # The daemon knows the image by every repository that it was pushed to or pulled from: only this name's counts.
    pairs = (each.split("@", 1) for each in found.attrs.get("RepoDigests") or ())
    known = {full_name(repository): image_digest for repository, image_digest in pairs}
    base = Base(name, str(found.id), known.get(full_name(repository_of(name)), ""), reference.kind)
    say(f"{name} is {base.digest or base.id}")
    return base


def _found(client: Client, name: str, via: Via | None, say: Say) -> Any:
    """With BuildKit, a tag is what the registry says today; else what the daemon has, or fetches when it has none."""
    account = _account(via, name)
    if via and "@" not in name:
        try:
            return _pulled(client, name, account, say)
        except docker.errors.APIError as error:
            say(f"{name}: its registry gives none, so what the daemon has is taken: {error.explanation or error}")
    try:
        return client.images.get(name)
    except Missing:
        return _pulled(client, name, account, say)


def _pulled(client: Client, name: str, account: dict[str, str] | None, say: Say) -> Any:
    """As the SDK pulls, which tells nothing of it meanwhile."""
    repository, tag = docker.utils.parse_repository_tag(name)
    stream = client.api.pull(repository, tag=tag or "latest", stream=True, decode=True, auth_config=account)
    for _ in _followed(stream, f"pulling {name}", say):
        pass
    return client.images.get(f"{repository}{'@' if (tag or '').startswith('sha256:') else ':'}{tag or 'latest'}")


def _account(via: Via | None, name: str) -> dict[str, str] | None:
    """For a base that lies in the host's own registry."""
    registry = via.registry if via else None
    return _login(registry.auth) if registry and full_name(name).startswith(f"{registry.host}/") else None


@dataclass
class _Log:
    """The end of what a build printed, the step that it is at, and that step's container."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=QUOTED_LINES))
    step: str = "its first step"
    container: str = ""

    def add(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("Step "):
            self.step = line
        if begun := _BEGUN.fullmatch(line):
            self.container = begun[1]

    @property
    def quoted(self) -> str:
        return quoted(self.lines)


def _follow_build(stream: Iterable[Mapping[str, Any]], order: _Order, log: _Log) -> None:
    """Until it ends well. One that takes too long is left, by which the daemon kills and removes its container."""
    tag, seconds = order.tag, order.seconds
    ends = time.monotonic() + seconds
    built, printed = False, _Printed(order, log)
    try:
        for message in _in_time(stream, ends, lambda: _endless(tag, seconds, log)):
            printed.add(str(message.get("stream", "")))
            if "error" in message:
                printed.add("\n")
                raise _build_failed(tag, message["error"], log)
            built = built or "ID" in message.get("aux", {})
    finally:
        printed.add("\n")
    if not built:
        raise DockerError(
            f"building {tag}: the daemon went away in {log.step}",
            hint="was it restarted? the next run builds again",
            transient=True,
        )


class _Printed:
    """The lines of what a build prints, which comes in pieces of any length."""

    def __init__(self, order: _Order, log: _Log) -> None:
        self._order, self._log, self._rest, self._number = order, log, "", 0

    def add(self, text: str) -> None:
        *lines, rest = (self._rest + text).split("\n")
        self._rest = rest[:_LONGEST_LINE]
        for line in (each.rstrip() for each in lines):
            if line.strip():
                self._log.add(line[:LINE])
                self._order.keep(line)
                say_some(self._order.say, line[:LINE], self._number)
                self._number += 1


def _in_time(
    stream: Iterable[Mapping[str, Any]], ends: float, late: Callable[[], DockerError]
) -> Iterator[Mapping[str, Any]]:
    try:
        for message in stream:
            yield message
            if time.monotonic() > ends:
                raise late()
    except _SILENT as error:
        raise late() from error


def _endless(tag: str, seconds: int, log: _Log) -> DockerError:
    return DockerError(
        f"building {tag}: stopped after {seconds} s in {log.step}\n{log.quoted}".rstrip(),
        hint="find out what does not end, or raise `build_seconds` in ci.yaml",
    )


def _build_failed(tag: str, error: str, log: _Log) -> DockerError:
    full = registry_words.is_full(f"{error}\n{log.quoted}")
    return DockerError(
        f"building {tag} failed in {log.step}: {error.strip()}\n{log.quoted}",
        hint=_ROOM if full else _KILLED if error.rstrip().endswith(": 137") else "build steps have no network",
    )


@effect(name="export image", retries=1)
def export_image(url: str, image_id: str, archive: Path) -> Path:
    """The image as an archive that can be scanned without reaching the daemon."""
    with daemon(url) as client, archive.open("wb") as file:
        for chunk in client.api.get_image(image_id):
            try:
                file.write(chunk)
            except OSError as error:  # which names no file by itself
                raise OSError(error.errno, error.strerror, str(archive)) from error
    return archive


@effect(name="push image", retries=2)
def push_image(url: str, image_id: str, *, repository: str, tag: str, auth: Path | None, say: Say = _keep_quiet) -> str:
    """Push under one tag and give the digest that the registry answers with."""
    what = f"pushing {repository}:{tag}"
    with daemon(url) as client:
        client.api.tag(image_id, repository, tag)
        stream = client.api.push(repository, tag=tag, stream=True, decode=True, auth_config=_login(auth))
        digests = [
            message["aux"]["Digest"]
            for message in _followed(_checked(stream, what, auth), what, say)
            if "Digest" in message.get("aux", {})
        ]
    if not digests:
        raise DockerError(f"pushing {repository}:{tag}: the registry named no digest")
    return str(digests[-1])


@effect(name="pull image", retries=2)
def pull_image(url: str, *, repository: str, digest: str, auth: Path | None, say: Say = _keep_quiet) -> Image:
    """Fetch an image by its digest."""
    what = f"pulling {repository}@{digest}"
    with daemon(url) as client:
        stream = client.api.pull(repository, tag=digest, stream=True, decode=True, auth_config=_login(auth))
        for _ in _followed(_checked(stream, what, auth), what, say):
            pass
        return _image(client, f"{repository}@{digest}")


@effect(name="remove image", retries=1)
def remove_image(url: str, name: str) -> None:
    """Remove a name of an image, and the image when that was its last."""
    with daemon(url) as client, contextlib.suppress(Missing):
        client.api.remove_image(name)


def remove_left(url: str, *, run: str) -> None:
    """Remove whatever a run left: containers with their volumes, networks, and images that only its tests needed."""
    mine = {"label": f"{RUN_LABEL}={run}"}
    with daemon(url) as client:
        for container in client.api.containers(all=True, filters=mine):
            with contextlib.suppress(Missing):
                client.api.remove_container(container["Id"], force=True, v=True)
        for network in client.api.networks(filters=mine):
            with contextlib.suppress(Missing):
                client.api.remove_network(network["Id"])
        for name in _shipped_names(client, run):
            with contextlib.suppress(Missing):
                client.api.remove_image(name)
        for image in client.api.images(filters=mine):
            with contextlib.suppress(Missing):
                client.api.remove_image(image["Id"], force=True)


def _followed(messages: Iterable[Mapping[str, Any]], what: str, say: Say) -> Iterator[Mapping[str, Any]]:
    """Say at each quarter how far it is. Layers become known as they come, so what is left may grow."""
    layers: dict[str, tuple[int, int]] = {}
    told = 0
    for message in messages:
        match message:
            case {"id": str(layer), "progressDetail": {"current": int(current), "total": int(total)}}:
                layers[layer] = (min(current, total), total)
        whole = sum(total for _, total in layers.values())
        quarters = 4 * sum(current for current, _ in layers.values()) // whole if whole else 0
        if quarters > told:
            told = quarters
            say(f"{what}: {25 * quarters} % of {whole / (1 << 20):.1f} MiB")
        yield message


def _checked(stream: Iterable[Mapping[str, Any]], what: str, auth: Path | None) -> Iterator[Mapping[str, Any]]:
    for message in stream:
        if "error" in message:
            said = str(message["error"])
            hint, transient = registry_words.explain(said, auth=auth)
            raise DockerError(f"{what}: {said}", hint=hint, transient=transient)
        yield message


def _login(auth: Path | None) -> dict[str, str] | None:
    login = read_login(auth)
    return {"username": login.user, "password": login.password} if login else None


def _image(client: Client, name: str) -> Image:
    inspected: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    labels = inspected["Config"].get("Labels") or {}
    return Image(inspected["Id"], int(inspected["Size"]), dict(labels))
