"""The parts of the sandbox by name, and in what order they go."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Mapping

from sandbox.part import Part, Report, SandboxError
from sandbox.place import Place

# Name → where its class is; a class is called with the Place. Modules load when asked for.
CLASSES = {
    "docker": "sandbox.parts.docker:Docker",
    "registry": "sandbox.parts.registry:Registry",
    "git": "sandbox.parts.git:Git",
    "trivy": "sandbox.parts.trivy:Trivy",
    "baseimage": "sandbox.parts.baseimage:BaseImage",
    "workerbase": "sandbox.parts.baseimage:WorkerBaseImage",
    "prefect": "sandbox.parts.prefect:Prefect",
    "kubernetes": "sandbox.parts.kubernetes:Kubernetes",
    "node": "sandbox.parts.node:Node",
    "cosign": "sandbox.parts.cosign:Cosign",
    "referrers": "sandbox.parts.referrers:Referrers",
    "buildkit": "sandbox.parts.buildkit:BuildKit",
    "sops": "sandbox.parts.sops:Sops",
    "nginx": "sandbox.parts.nginx:Nginx",
    "kwok": "sandbox.parts.kwok:Kwok",
    "receiver": "sandbox.parts.worker:Receiver",
    "signer": "sandbox.parts.worker:Signer",
    "worker-ci": "sandbox.parts.worker:CiWorker",
    "worker-cd": "sandbox.parts.worker:CdWorker",
}
# These need the host config that a person or the demo writes, so they start only when asked for.
LATER = ("receiver", "signer", "worker-ci", "worker-cd")
# What only tests need, and what takes minutes to build.
FOR_TESTS = ("cosign", "referrers", "buildkit", "sops", "nginx", "kwok", "workerbase")
DEFAULT = tuple(name for name in CLASSES if name not in (*LATER, *FOR_TESTS))


def create(name: str, place: Place) -> Part:
    """One part, by name."""
    if name not in CLASSES:
        raise SandboxError(f"part {name}: unknown; there are {', '.join(CLASSES)}")
    module, _, attribute = CLASSES[name].partition(":")
    part: Part = getattr(importlib.import_module(module), attribute)(place)
    return part


def all_parts(place: Place) -> list[Part]:
    """Every part there is, running or not; for sweeping."""
    return [create(name, place) for name in CLASSES]


def with_needs(names: Iterable[str], place: Place) -> dict[str, Part]:
    """These parts and everything that they need, each need before its part."""
    found: dict[str, Part] = {}
    for name in names:
        part = create(name, place)
        found |= with_needs(part.needs, place) | {name: part}
    return found


def provide(parts: Mapping[str, Part], report: Report) -> None:
    """Find or build what the parts are made of, side by side."""
    in_order(dict.fromkeys(parts, ()), lambda name: parts[name].provide(report))


def in_order(after: Mapping[str, Iterable[str]], action: Callable[[str], None]) -> None:
    """Call `action` with every name, each in a thread, once those it comes after are done.

    When one raises, what comes after it is left out, the others are finished, and the first error is raised.
    """
    done = {name: threading.Event() for name in after}
    failures: list[Exception] = []

    def run(name: str) -> None:
        for earlier in after[name]:
            if earlier in done:
                done[earlier].wait()
        try:
            if not failures:
                action(name)
        except Exception as error:
            failures.append(error)
        finally:
            done[name].set()

    # Not a pool: a Ctrl-C here must not wait for a build that takes minutes, which ends with this process.
    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in after]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
