"""What of an image's configuration the checks of misconfiguration read, without what every build changes in it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from interlock.errors import ScanFailed

EMPTY_LAYER = bytes(1024)
"""An archive without files."""
CANARY = "interlock-canary"
"""A word of the instruction that is known to be a finding."""
_CANARY_ID = "DS-0013"
# Trivy takes what comes before the last but one CMD for the base image's; an instruction without a layer moves nothing.
_CANARY = {"created_by": f"/bin/sh -c cd /{CANARY}", "empty_layer": True}
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{40,64}(?![0-9a-f])")
_SETTINGS = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir"),
    *("StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell"),
)
"""All that says how the image is run. Docker's own builder writes more: labels, and the image of the step before."""
_SET = r"(/bin/sh -c #\(nop\)\s+)?"
"""What the older builder writes before what is no RUN."""
_LABEL = re.compile(rf"{_SET}LABEL\b")
_HEALTHCHECK = re.compile(r'HEALTHCHECK &\{\["(\w+)".*', re.DOTALL)
_PLAIN = re.compile(rf"{_SET}(USER \S+|EXPOSE [\d /]+|HEALTHCHECK (NONE|CMD true))\s*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def to_check(configuration: bytes, *, plain: bool = False) -> bytes:
    """An image's configuration as the checks are given it: its instructions and settings, with a canary after them.

    Times, digests, labels and layers' contents are gone, so that two builds by the same instructions have the same;
    there are as many layers, all empty. With `plain` only the instructions that are always understood are left: one
    that is not makes the scanner pass over all of them. ScanFailed when it is no configuration (OCI image
    specification, config.md).
    """
    try:
        read = json.loads(configuration)
        settings, history = read.get("config") or {}, read.get("history") or []
        told = [_instruction(each) for each in history if not _LABEL.match(_words(each))]
        layers = [f"sha256:{hashlib.sha256(EMPTY_LAYER).hexdigest()}"] * len(read["rootfs"]["diff_ids"])
        kept = {name: settings[name] for name in _SETTINGS if name in settings}
        system = {name: str(read.get(name, "")) for name in ("architecture", "os")}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ScanFailed(f"the image's configuration cannot be read: {type(error).__name__}") from error
    shown = [each for each in told if not plain or _PLAIN.fullmatch(str(each["created_by"]))]
    whole = {**system, "config": kept, "history": [*shown, _CANARY], "rootfs": {"type": "layers", "diff_ids": layers}}
    return json.dumps(whole, sort_keys=True).encode()


def is_canary(identity: str, title: str) -> bool:
    """Whether a finding is about the canary: no other instruction has its word."""
    return identity == _CANARY_ID and f"'cd /{CANARY}'" in title


def _instruction(entry: dict[str, Any]) -> dict[str, object]:
    words = _DIGEST.sub(lambda found: "0" * len(found[0]), _words(entry))
    words = _HEALTHCHECK.sub(_healthcheck, _TIME.sub("0000-00-00T00:00:00Z", words))
    told = {"created_by": words, "empty_layer": bool(entry.get("empty_layer"))}
    return {**told, "comment": str(entry["comment"])} if "comment" in entry else told


def _words(entry: dict[str, Any]) -> str:
    return str(entry.get("created_by", ""))


def _healthcheck(found: re.Match[str]) -> str:
    """As a Dockerfile has it: builders write down Go's form, `HEALTHCHECK &{["CMD" "true"] "0s" …}`."""
    return "HEALTHCHECK NONE" if found[1] == "NONE" else "HEALTHCHECK CMD true"
