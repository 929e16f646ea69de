"""`interlock signer`: the process that has the attestation keys, under a user of its own that cannot reach Docker.

One request a connection, on a socket: a JSON document until the sender shuts down its half, then the answer. The
kernel says whose process asks. One request at a time: CI waits, and nobody else may ask.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import grp
import os
import pwd
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from interlock.ci import signing
from interlock.ci.gate import judge_release
from interlock.ci.host import KeySource, SignerHost
from interlock.ci.signing import Request, Signed
from interlock.ci.targets import Relation, Target, released_commits, targets
from interlock.contract import source_rule
from interlock.contract.dsse import Key, fingerprint
from interlock.errors import HostConfigError, InputError, InterlockError, Refused, ToolError
from tasks.ci.attestation_key import load_key
from tasks.ci.release_commit import read_mark, write_mark
from tasks.common import clock, git
from tasks.common.environment_repository import VerifiedHead, fetch_verified
from tasks.common.redaction import keep_from_dumps
from tasks.common.registry import connected, path_in, read_blob, read_manifest

READ_SECONDS = 30.0
MOST_REQUEST_BYTES = 128 << 20
"""Two bills of materials and the findings of three scans."""
_CONFIGURATION_BYTES = 4 << 20
_PIECE = 1 << 16


class Keys:
    """A key for each repository. One that was loaded stays: a variable can be read only once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, KeySource], Key] = {}

    def of(self, repository: str, source: KeySource) -> Key:
        if (repository, source) not in self._loaded:
            key = load_key(source, owner=repository)
            _say(f"signs for {repository} with {fingerprint(key.public)}")
            self._loaded[repository, source] = key
        return self._loaded[repository, source]


@dataclass(frozen=True)
class Signer:
    """What a signer has: its host's file, and its keys."""

    host: SignerHost
    keys: Keys

    def sign(self, request: Request, *, now: dt.datetime | None = None) -> Signed:
        """Look at registry, source and policy, judge, and sign. Refused when anything is not as CI says."""
        moment = now or dt.datetime.now(dt.UTC)
        facts, host = request.facts, self.host
        registered = host.repositories.get(facts.source.repository)
        if registered is None:
            raise Refused(
                f"not signed: there is no key for the repository {facts.source.repository}",
                rule="signer-repository",
                hint="`interlock register signed` adds one on the signer's host",
            )
        key = self.keys.of(facts.source.repository, registered.key)
        signing.require_whole(request, now=moment)
        desired = self._environments()
        builder = registered.builder or host.builder
        bound = targets(desired.repository, source=facts.source.repository, signer=builder)
        signing.require_target(request, bound)
        commit_key = self._require_source(request, desired, bound)
        self._require_image(request)
        verdicts = judge_release(
            request.scans,
            facts.tests,
            policy=desired.repository,
            environments=request.environments,
            source=facts.source.repository,
            component=facts.component,
            now=moment,
            bases=None if facts.given else facts.bases,
        )
        signing.require_passed(request, verdicts)
        said = signing.statements_of(
            request,
            verdicts,
            builder=builder,
            policy_commit=desired.commit,
            now=moment,
            branch=registered.branch,
            commit_key=commit_key,
        )
        return signing.sign(key, said, image=facts.image)

    def _environments(self) -> VerifiedHead:
        """The environment repository's head, which must follow the one that was verified last."""
        state = self.host.state
        desired = fetch_verified.fn(self.host.environment_repository, state=state, since=read_mark(state))
        write_mark(state, desired.commit)
        clock.remember(state)
        return desired

    def _require_source(self, request: Request, desired: VerifiedHead, bound: Sequence[Target]) -> str:
        """On the branch, not behind what is released, signed as the source's rule asks: by which key, if it asks."""
        source, host = request.facts.source, self.host
        remote = host.repositories[source.repository]
        mirror = git.mirror_path(host.state, source.repository)
        head = git.fetch(mirror, remote)
        for commit in signing.commits(request):
            relation: Relation = "same" if commit == head else "diverged"
            if relation != "same" and git.is_ancestor(mirror, commit, head):
                relation = "older"
            signing.require_on_branch(request, relation, branch=remote.branch, head=head, commit=commit)
        *_, released = signing.commits(request)
        others = released_commits(bound, source.repository)
        signing.require_forward(request, bound, {each: _relation(mirror, each, released) for each in others})
        attester = desired.repository.attesters.of(source.repository) if desired.repository.attesters else None
        if attester is None or not source_rule.asks(attester):
            return ""
        signed = [
            source_rule.signed_by(attester, each, git.read_signed(mirror, each).data)
            for each in signing.commits(request)
        ]
        return signed[-1]

    def _require_image(self, request: Request) -> None:
        repository, _, wanted = request.facts.image.partition("@")
        registry = self.host.registry
        path = path_in(registry, repository)
        with connected(registry) as http:
            found = read_manifest(http, path, wanted)
            image_id = found.config if found else ""
            blob = read_blob(http, path, image_id, most=_CONFIGURATION_BYTES) if found else b"{}"
        signing.require_image(request, found=found.digest if found else None, image_id=image_id, configuration=blob)


def _relation(mirror: Path, commit: str, head: str) -> Relation:
    if commit == head:
        return "same"
    if git.is_ancestor(mirror, commit, head):
        return "older"
    return "newer" if git.is_ancestor(mirror, head, commit) else "diverged"


# the process -----------------------------------------------------------------------------------------


def serve(load: Callable[[], SignerHost]) -> None:
    """Serve until SIGTERM or SIGINT. HostConfigError when this user may not be the signer, or a key is not there.

    `load` reads the host's file, which it does again for each request: what is registered counts without a restart.
    Only the socket and who may ask stay what they were.
    """
    keep_from_dumps()
    host, keys = load(), Keys()
    clients = _clients(host)
    _require_apart(host, clients)
    for name, each in host.repositories.items():
        keys.of(name, each.key)
    with _listening(host) as listener:
        _say(f"listening on {host.listen}")
        _until_ended(listener, lambda: Signer(load(), keys), clients)


def _clients(host: SignerHost) -> Mapping[int, str]:
    return dict(_user(name) for name in host.clients)


def _user(name: str) -> tuple[int, str]:
    if name.isdigit():
        return int(name), name
    try:
        return pwd.getpwnam(name).pw_uid, name
    except KeyError:
        raise HostConfigError(f"clients: there is no user {name} on this host") from None


def _require_apart(host: SignerHost, clients: Mapping[int, str]) -> None:
    """The key is only safe from CI when CI's user, and whoever reaches Docker, is another one."""
    own = os.geteuid()
    if own == 0:
        raise HostConfigError("the signer does not run as root, who reaches Docker", hint="start it as its own user")
    if own in clients:
        raise HostConfigError(
            f"the signer runs as {clients[own]}, who may ask it: he could read the keys",
            hint="start it as its own user",
        )
    for path in host.must_not_reach:
        if os.access(path, os.W_OK):
            groups = ", ".join(_groups())
            raise HostConfigError(
                f"the signer can reach {path}, and whoever does is root",
                hint=f"take its user out of the group that may; it is in {groups}",
            )


def _groups() -> Iterator[str]:
    for group in sorted({os.getegid(), *os.getgroups()}):
        try:
            yield grp.getgrgid(group).gr_name
        except KeyError:
            yield str(group)


@contextlib.contextmanager
def _listening(host: SignerHost) -> Iterator[socket.socket]:
    """The socket, which every user may connect to: who may ask is told by the kernel, not by the file's mode."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _answers(host):
            raise HostConfigError(f"{host.listen}: another signer listens there")
        host.listen.unlink(missing_ok=True)
        listener.bind(str(host.listen))
        host.listen.chmod(0o666)
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise HostConfigError(
            f"{host.listen}: {error.strerror or error}", hint="its folder must belong to the signer's user"
        ) from error
    try:
        yield listener
    finally:
        host.listen.unlink(missing_ok=True)
        listener.close()


def _answers(host: SignerHost) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(host.listen)) == 0


class _Ended(Exception):
    pass


def _until_ended(listener: socket.socket, signer: Callable[[], Signer], clients: Mapping[int, str]) -> None:
    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise _Ended

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with contextlib.suppress(_Ended):
        while True:
            connection, _ = listener.accept()
            with connection:
                _serve_one(connection, signer, clients)


def _serve_one(connection: socket.socket, signer: Callable[[], Signer], clients: Mapping[int, str]) -> None:
    """Whatever is wrong with one request, the next one is served."""
    try:
        asker = _asker(connection, clients)
        data = _receive(connection, most=MOST_REQUEST_BYTES)
        connection.sendall(_answer(data, signer, asker))
    except (OSError, Refused) as error:
        _say(f"no answer: {error}")


def _asker(connection: socket.socket, clients: Mapping[int, str]) -> str:
    """The name of the user whose process asks; Refused when he may not."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid not in clients:
        with contextlib.suppress(OSError):
            connection.sendall(_told(Refused(f"the user {uid} may not ask this signer", rule="signer-client")))
        raise Refused(f"the user {uid} may not ask", rule="signer-client")
    return clients[uid]


def _receive(connection: socket.socket, *, most: int) -> bytes:
    """Everything until the sender shuts down its half, within a time and a size."""
    deadline = time.monotonic() + READ_SECONDS
    data = bytearray()
    while True:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        piece = connection.recv(_PIECE)
        if not piece:
            break
        data += piece
        if len(data) > most:
            with contextlib.suppress(OSError):
                connection.sendall(_told(InputError(f"the request to sign is larger than {most >> 20} MiB")))
            raise Refused(f"a request of more than {most >> 20} MiB", rule="signer-request")
    connection.settimeout(READ_SECONDS)
    return bytes(data)


def _answer(data: bytes, signer: Callable[[], Signer], asker: str) -> bytes:
    try:
        request = signing.read_request(data)
        signed = signer().sign(request)
    except InterlockError as error:
        _say(f"{asker}: {error.message}")
        return _told(error)
    except Exception as error:
        _say(f"{asker}: a defect: {type(error).__name__}: {error}")
        return _told(ToolError(f"the signer failed: {type(error).__name__}", hint="see its log"))
    facts = request.facts
    _say(f"{asker}: signed {facts.image} of {facts.source.commit[:12]} for {', '.join(request.environments)}")
    return signing.answer(signed)


def _told(error: InterlockError) -> bytes:
    rule = error.rule if isinstance(error, Refused) else ""
    transient = isinstance(error, ToolError) and error.transient
    return signing.refusal(error.message, hint=error.hint, rule=rule, transient=transient)


def _say(line: str) -> None:
    """One line, whatever somebody has put into it."""
    printable = "".join(letter if letter.isprintable() else " " for letter in line)[:2000]
    sys.stderr.write(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} signer: {printable}\n")
    sys.stderr.flush()
