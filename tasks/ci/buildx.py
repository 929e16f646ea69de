"""Building with BuildKit, asked by `docker buildx`: a process that knows what the build may have, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interlock.ci.host import BuildKit
from interlock.contract.host import Registry
from interlock.contract.secret_text import masked, parts
from interlock.errors import DockerError, HostConfigError
from tasks.ci.build_log import LINE, QUOTED_LINES, Say, quoted, say_some
from tasks.ci.kept_log import Keep
from tasks.common.redaction import know
from tasks.common.registry import read_login
from tasks.common.stopping import stopped_by

_NAME = "interlock"
_OWN = "default"
"""The builder that is the Docker daemon's own BuildKit."""
_MANY_BYTES = 1 << 16
_CACHE_TAG = "il-cache"
_SHORTEST_SECRET = 8


@dataclass(frozen=True)
class Via:
    """How a repository's images are built with BuildKit. `secrets` are files, by the ids that a Dockerfile names."""

    settings: BuildKit
    registry: Registry | None
    """The host's, with its account; None at a desk, where the person's own accounts count."""
    namespace: str
    """Builds of other namespaces have other cache mounts."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    cache: str = ""
    """The image's repository, where the cache's layers go too; none without it."""
    fresh: bool = False
    """Nothing that was built before is used."""


@dataclass(frozen=True)
class Build:
    """One image to build. `dockerfile` is the file in `folder`, beside which the build writes what it makes."""

    folder: Path
    dockerfile: Path
    context: Path
    tag: str
    target: str | None
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    seconds: int
    epoch: int | None


def build(docker: str, via: Via, order: Build, say: Say, *, keep: Keep, own: bool = False) -> Path | None:
    """The archive with the image; None when the daemon has it already, because its own BuildKit made it.

    `keep` takes every line. `own`: by the daemon's BuildKit, whatever the host says. DockerError ends with the log's
    last lines.
    """
    address = None if own else via.settings.address
    home = _home(order.folder, via.registry, docker, order.epoch)
    if address:
        create = ("create", "--name", _NAME, "--driver", "remote", address)
        _run(via, create, home, order, say=lambda _: None, keep=keep)
    archive = order.folder / "image.tar"
    words = (
        *("build", "--builder", _NAME if address else _OWN, "--progress", "plain", "--network", "none"),
        *(("--cgroup-parent", via.settings.cgroup) if via.settings.cgroup else ()),
        *("--provenance=false", "--sbom=false", "--file", str(order.dockerfile), "--tag", order.tag),
        *(("--target", order.target) if order.target else ()),
        *(("--no-cache",) if via.fresh else ()),
        *_pairs("--build-arg", {**order.arguments, "BUILDKIT_CACHE_MOUNT_NS": via.namespace}),
        *_pairs("--label", order.labels),
        *_secrets(via.secrets),
        *(_cache(via) if address else ()),
        *("--output", _output(archive if address else None, order.epoch)),
        str(order.context),
    )
    _run(via, words, home, order, say=say, keep=keep)
    return archive if address else None


def _pairs(option: str, values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        yield from (option, f"{name}={value}")


def _secrets(secrets: Mapping[str, Path]) -> Iterator[str]:
    """Only where they are is said on the command line."""
    for name, path in secrets.items():
        yield from ("--secret", f"id={name},src={path}")


def _cache(via: Via) -> Sequence[str]:
    if not via.cache:
        return ()
    reference = f"type=registry,ref={via.cache}:{_CACHE_TAG}"
    return "--cache-from", reference, "--cache-to", f"{reference},mode=max,image-manifest=true,oci-mediatypes=true"


def _output(archive: Path | None, epoch: int | None) -> str:
    if archive is None:
        return "type=docker"
    rewritten = ",rewrite-timestamp=true" if epoch is not None else ""
    return f"type=docker,dest={archive},compression=uncompressed{rewritten}"


def _home(folder: Path, registry: Registry | None, docker: str, epoch: int | None) -> dict[str, str]:
    """The whole environment: nothing of CI's own, and the registry's account in a file that buildx alone reads.

    buildx gives BuildKit a login when it pulls a base; no step of a build sees it.
    """
    return {
        "PATH": os.defpath if registry else os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "DOCKER_CONFIG": _account_file(folder, registry) if registry else _own_accounts(),
        "BUILDX_CONFIG": str(folder / "buildx"),
        "DOCKER_HOST": docker,
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        **({"SOURCE_DATE_EPOCH": str(epoch)} if epoch is not None else {}),
    }


def _account_file(folder: Path, registry: Registry) -> str:
    config = folder / "docker"
    config.mkdir(mode=0o700)
    (config / "config.json").touch(mode=0o600)
    (config / "config.json").write_text(json.dumps({"auths": _accounts(registry)}))
    return str(config)


def _own_accounts() -> str:
    return os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))


def _accounts(registry: Registry) -> dict[str, object]:
    login = read_login(registry.auth)
    if login is None:
        return {}
    return {registry.host: {"auth": base64.b64encode(f"{login.user}:{login.password}".encode()).decode()}}


def _run(via: Via, words: Sequence[str], home: Mapping[str, str], order: Build, *, say: Say, keep: Keep) -> None:
    """To its end, line by line; it dies with us, and when its time is up."""
    # Files end with a line break, which counts in their base64.
    secrets = [f"{read_secret(path).decode(errors='replace')}\n" for path in via.secrets.values()]
    know(*secrets)
    hidden = frozenset(part for secret in secrets for part in parts(secret))
    lines: deque[str] = deque(maxlen=QUOTED_LINES)
    command = ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", str(via.settings.buildx), *words]
    try:
        process = subprocess.Popen(
            command,
            env=dict(home),
            cwd=order.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise DockerError(f"{via.settings.buildx}: {error.strerror}", hint="`buildkit` in ci.yaml names it") from error
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(order.seconds, stop)
    timer.start()
    try:
        with stopped_by(lambda: _kill(process)):
            for number, line in enumerate(_lines(process, hidden)):
                keep(line)
                lines.append(line[:LINE])
                say_some(say, line[:LINE], number)
            code = process.wait()
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
    if late.is_set():
        raise _failed(order.tag, f"it took longer than {order.seconds} s", lines)
    if code != 0:
        raise _failed(order.tag, f"buildx ended with exit code {code}", lines)


def _lines(process: subprocess.Popen[bytes], hidden: Collection[str]) -> Iterator[str]:
    """Without secrets. Of a line that has no end, its beginning: further on, a secret could be cut in two."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    goes_on = False
    while raw := process.stdout.readline(_MANY_BYTES):
        line = "" if goes_on else masked(raw.decode(errors="replace"), hidden).rstrip()
        goes_on = not raw.endswith(b"\n")
        if line:
            yield line


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failed(tag: str, error: str, lines: Sequence[str] | deque[str]) -> DockerError:
    said = list(lines)
    steps = [found[1] for line in said if (found := re.match(r"\s*> (\[.*)", line))]
    step = f" in {steps[-1].rstrip(':')}" if steps else ""
    return DockerError(f"building {tag} failed{step}: {error}\n{quoted(said)}", hint="build steps have no network")


def read_secret(path: Path) -> bytes:
    """A build secret's content without the line break at its end."""
    try:
        content = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise HostConfigError(f"{path}: the build secret cannot be read: {error.strerror}") from None
    if len(content) < _SHORTEST_SECRET:
        raise HostConfigError(
            f"{path}: a build secret must have at least {_SHORTEST_SECRET} bytes: a shorter one is found everywhere"
        )
    return content
