"""Where things are in an environment repository, format 1."""

from __future__ import annotations

import hashlib
import re

ENVIRONMENTS = "environments.yaml"
SIGNERS = "trust/signers.yaml"
BINDINGS = "trust/bindings.yaml"
ATTESTERS = "trust/attesters.yaml"
RECIPIENTS = "trust/recipients.yaml"
GATE = "policy/gate.yaml"
WAIVERS = "policy/waivers.yaml"
HEALTH = "policy/health.yaml"
RULES = "policy/rules.yaml"
IMAGES = "policy/images.yaml"
PROTECTION = "policy/protection.yaml"
FRESHNESS = "policy/freshness.yaml"
APPLICATION_REPOSITORY = "interlock.yaml"  # in an application repository

_RELEASE = re.compile(r"environments/([^/]+)/([^/]+)/release\.yaml")
_EVIDENCE = re.compile(r"environments/([^/]+)/([^/]+)/evidence/([^/]+)-([0-9a-f]{12})\.json")
_RESCAN = re.compile(r"environments/([^/]+)/([^/]+)/evidence/([^/]+)-([0-9a-f]{12})\.rescan\.json")
_APPROVAL = re.compile(r"approvals/([^/]+)/([^/]+)\.([0-9a-f]{12})\.json")
_APPLICATION_FILE = re.compile(
    r"environments/[^/]+/[^/]+/(values\.yaml|secrets\.yaml|release\.yaml|manifests/[^/]+\.ya?ml"
    r"|evidence/[^/]+-[0-9a-f]{12}(\.rescan)?\.json)"
)


def environment(name: str) -> str:
    return f"environments/{name}/environment.yaml"


def application(name: str) -> str:
    return f"applications/{name}/application.yaml"


def shared_values(application: str) -> str:
    return f"applications/{application}/values.yaml"


def folder(environment: str, application: str) -> str:
    return f"environments/{environment}/{application}"


def values(environment: str, application: str) -> str:
    return f"{folder(environment, application)}/values.yaml"


def secrets(environment: str, application: str) -> str:
    """Values that SOPS sealed."""
    return f"{folder(environment, application)}/secrets.yaml"


def manifests(environment: str, application: str) -> str:
    return f"{folder(environment, application)}/manifests"


def release(environment: str, application: str) -> str:
    return f"{folder(environment, application)}/release.yaml"


def evidence(environment: str, application: str, component: str, image_digest: str) -> str:
    """`image_digest` is `sha256:…`; twelve of its hex digits name the file."""
    return f"{folder(environment, application)}/evidence/{component}-{image_digest.removeprefix('sha256:')[:12]}.json"


def rescan(environment: str, application: str, component: str, image_digest: str) -> str:
    """What the last rescan said of the image, where that is not what its evidence says."""
    return evidence(environment, application, component, image_digest).removesuffix(".json") + ".rescan.json"


def templates(template: str) -> str:
    return f"templates/{template}"


def values_schema(template: str) -> str:
    """What a template set asks of its values, as JSON Schema; it need not be there."""
    return f"{templates(template)}/values.schema.json"


def render_tests(template: str) -> str:
    """What a template set must make of values; nothing but `interlock test` reads them."""
    return f"{templates(template)}/tests/*.yaml"


def parse_release(path: str) -> tuple[str, str] | None:
    """(environment, application) when the path is a release file."""
    found = _RELEASE.fullmatch(path)
    return (found[1], found[2]) if found else None


def parse_evidence(path: str) -> tuple[str, str, str] | None:
    """(environment, application, component) when the path is an evidence file."""
    found = _EVIDENCE.fullmatch(path)
    return (found[1], found[2], found[3]) if found else None


def parse_rescan(path: str) -> tuple[str, str, str, str] | None:
    """(environment, application, component, twelve digits of the image's digest) when the path is a rescan's file."""
    found = _RESCAN.fullmatch(path)
    return (found[1], found[2], found[3], found[4]) if found else None


def approvals(environment: str) -> str:
    """The folder of what people have agreed to; rendering reads nothing of it."""
    return f"approvals/{environment}"


def approval(environment: str, person: str, reads: str, base: str | None) -> str:
    """One person's approval of one state of the environment, after one that was deployed."""
    mark = hashlib.sha256(f"{reads} {base}".encode()).hexdigest()[:12]
    return f"{approvals(environment)}/{person}.{mark}.json"


def parse_approval(path: str) -> tuple[str, str] | None:
    """(environment, person) when the path is an approval's file."""
    found = _APPROVAL.fullmatch(path)
    return (found[1], found[2]) if found else None


def is_machines(path: str) -> bool:
    """Whether CI writes this file, and people do not."""
    return bool(parse_release(path) or parse_evidence(path) or parse_rescan(path))


def is_application_file(path: str) -> bool:
    """Whether format 1 knows this path below environments/<env>/<app>/."""
    return bool(_APPLICATION_FILE.fullmatch(path))
