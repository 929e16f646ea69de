"""What a process knows to be secret is masked in all that it says."""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from interlock.contract.secret_text import MASK
from interlock.errors import Blocked, ClusterError, FormatError, InterlockError, Refused
from tasks.common.effect import effect
from tasks.common.redaction import in_errors, know, redacted, told_to_guessers

SECRET = 'canary/Zürich+&"x=1'


def _log(say: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(f"test-{id(say)}")
    logger.addHandler(say)
    logger.propagate = False
    return logger


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_TWICE = _base64(json.dumps({"auth": _base64(f"ada:{SECRET}")}))


@pytest.mark.parametrize(
    ("form", "piece"),
    [
        (SECRET, "canary"),
        (_base64(SECRET), _base64(SECRET)[4:12]),
        (base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="), _base64(SECRET)[4:12]),
        (_base64(f"ada:{SECRET}"), _base64(f"ada:{SECRET}")[8:16]),
        (_base64(f"user1:{SECRET} and more"), _base64(f"user1:{SECRET}")[12:20]),
        (_base64(f"ab:{SECRET}"), _base64(f"ab:{SECRET}")[8:16]),
        (_TWICE, _TWICE[28:52]),
        (quote(SECRET, safe=""), "canary"),
        (f"https://ada:{quote(SECRET, safe='')}@git.example/x", "canary"),
        (json.dumps({"password": SECRET}), "canary"),
    ],
)
def test_a_secret_is_masked_in_every_form(form: str, piece: str) -> None:
    """As it is, as base64 alone and within a longer text, in an address, in JSON."""
    assert piece in form
    know(SECRET)
    said = redacted(f"before {form} after")
    assert said.startswith("before ") and said.endswith(" after")
    assert MASK in said
    assert piece not in said


def test_what_is_sealed_is_masked_but_for_whoever_may_guess() -> None:
    """What is a host's own secret too is masked for everybody."""
    know(SECRET, sealed=True)
    assert (redacted(SECRET), redacted(SECRET, sealed=False)) == (MASK, SECRET)

    know(SECRET)
    assert redacted(SECRET, sealed=False) == MASK
    know(SECRET, sealed=True)
    assert redacted(SECRET, sealed=False) == MASK


def _raised(error: Exception) -> str:
    with pytest.raises(type(error)) as caught, in_errors():
        raise error
    return str(caught.value)


def test_a_refusal_answers_no_guess() -> None:
    """A commit is refused in words of its own; what a tool says is masked for everybody, and so is all elsewhere."""
    know(SECRET, sealed=True)
    with told_to_guessers():
        assert SECRET in _raised(Refused(f"the image {SECRET} has no proof", rule="evidence"))
        assert SECRET not in _raised(ClusterError(f"Secret: {SECRET}"))
    assert SECRET not in _raised(Refused(f"the image {SECRET} has no proof", rule="evidence"))


def test_what_is_short_or_unknown_stays() -> None:
    """A word of a few letters is in logs for other reasons."""
    know("ada", "")
    assert redacted("ada deploys canary") == "ada deploys canary"


def test_a_line_of_a_log_and_a_traceback_tell_none() -> None:
    """Whatever logger it is, whether the secret stands in the message, an argument or an error."""
    know(SECRET)
    told = io.StringIO()
    logger = _log(logging.StreamHandler(told))
    logger.warning("it is %s", SECRET)
    logger.warning("it is " + quote(SECRET, safe=""))
    try:
        int(SECRET)
    except ValueError:
        logger.exception("failed")
    said = told.getvalue()
    assert said.count(MASK) == 3
    assert "canary" not in said
    assert "Traceback" in said


def test_an_error_tells_none() -> None:
    """Nor does what led to it; everything else of it stays."""
    know(SECRET)
    for error in (
        FormatError(f"is {SECRET}", path="a.yaml", line=3, hint=f"not {SECRET}"),
        Blocked("no", reasons=(SECRET,)),
        RuntimeError("x", SECRET, 5),
    ):
        with pytest.raises(type(error)) as caught, in_errors():
            raise error from KeyError(SECRET)
        found = f"{caught.value} {caught.value.args} {vars(caught.value)} {caught.value.__cause__}"
        assert "canary" not in found
        assert MASK in found
    assert (error.args[0], error.args[2]) == ("x", 5)


def _noted() -> Exception:
    error = ValueError("x")
    error.add_note(f"while {SECRET}")
    return error


ERRORS = {
    "a group": ExceptionGroup("both", [ValueError(SECRET), ExceptionGroup("more", [KeyError(SECRET)])]),
    "a note": _noted(),
    "a list and a mapping": RuntimeError("x", [SECRET, {"a": (SECRET,)}], {SECRET: "a"}),
    "bytes": RuntimeError("x", SECRET.encode()),
    "a program": subprocess.CalledProcessError(
        1, ["git", f"https://ada:{SECRET}@git.example"], output=SECRET.encode(), stderr=SECRET
    ),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_tells_none_whatever_holds_it(kind: str) -> None:
    """Groups, notes, lists, mappings, bytes, and the command and output of a program that failed."""
    know(SECRET)
    error = ERRORS[kind]
    with pytest.raises(type(error)) as caught, in_errors():
        raise error
    said = "".join(traceback.format_exception(caught.value)) + f"{caught.value.args} {vars(caught.value)}"
    assert MASK in said or repr(MASK.encode()) in said
    assert "canary" not in said


def test_what_an_effect_raises_tells_none() -> None:
    """Every effect is such a block, with Prefect and without."""

    @effect(name="fail")
    def fail() -> None:
        know(SECRET)
        raise InterlockError(f"the server said {SECRET}")

    with pytest.raises(InterlockError, match=f"the server said {MASK}"):
        fail.fn()


def test_a_process_that_holds_secrets_leaves_no_core_dump(tmp_path: Path) -> None:
    """Killed by SIGSEGV, with a limit that would let it dump, and nobody of the same user may look into it."""
    program = (
        "import os, resource, signal, sys\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)\n"
        "from tasks.common.redaction import keep_from_dumps\n"
        "keep_from_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0], os.stat('/proc/self/environ').st_uid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()[0]) == (-11, "0"), done.stderr
