"""A delivery is believed when one of our secrets signed its bytes, once."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from interlock.contract.webhook import delivery_id, read_secrets, sign, sign_standard, verify
from interlock.errors import HostConfigError, Refused

OLD, NEW = b"o" * 32, b"n" * 32
BODY = b'{"ref": "refs/heads/main"}'
NOW = 1_893_553_445.5
AT = "1893553400"


def test_signs_as_forges_do() -> None:
    """The value is sha256= and the HMAC in hex, as GitHub sends it."""
    assert sign(BODY, NEW) == "sha256=" + hmac.new(NEW, BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("header", ["X-Interlock-Signature-256", "x-hub-signature-256"])
@pytest.mark.parametrize("secret", [OLD, NEW])
def test_either_header_and_either_secret_will_do(header: str, secret: bytes) -> None:
    """While a secret is replaced both count, and header names have no case."""
    verify([("Content-Type", "application/json"), (header, sign(BODY, secret))], BODY, (OLD, NEW), now=NOW)


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ([], "signature-header"),
        ([("X-Hub-Signature-256", sign(BODY, NEW)), ("x-hub-signature-256", sign(BODY, NEW))], "signature-header"),
        ([("X-Hub-Signature-256", sign(BODY, NEW).upper())], "signature-form"),
        ([("X-Hub-Signature-256", sign(BODY, NEW).removeprefix("sha256="))], "signature-form"),
        ([("X-Hub-Signature-256", sign(BODY, NEW) + "\n")], "signature-form"),
        ([("X-Hub-Signature-256", sign(BODY + b" ", NEW))], "bad-signature"),
        ([("X-Hub-Signature-256", sign(BODY, b"x" * 32))], "bad-signature"),
        ([("X-Hub-Signature-256", sign(BODY, b""))], "bad-signature"),
    ],
)
def test_refuses_by_rule(headers: list[tuple[str, str]], rule: str) -> None:
    """Everything else is refused, and the rule says why."""
    with pytest.raises(Refused) as refused:
        verify(headers, BODY, (OLD, NEW), now=NOW)
    assert refused.value.rule == rule


def standard(body: bytes = BODY, secret: bytes = NEW, *, delivery: str = "d-1", time: str = AT) -> dict[str, str]:
    signature = sign_standard(body, secret, delivery=delivery, time=time)
    return {"webhook-id": delivery, "webhook-timestamp": time, "webhook-signature": signature}


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_gitlabs_signatures_will_do(secret: bytes) -> None:
    """One of several that stand there, over id, time and body."""
    headers = standard(secret=secret)
    verify(headers.items(), BODY, (OLD, NEW), now=NOW)
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']} v2,x"
    verify(headers.items(), BODY, (OLD, NEW), now=NOW)


def test_a_secret_of_standard_webhooks_is_a_key_in_base64() -> None:
    """Its example, as its specification has it."""
    secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    made = sign_standard(body, secret, delivery="msg_p5jXN8AQM9LWM0D4loKWxJek", time="1614265330")
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        (standard() | {"webhook-timestamp": "1893553401"}, "bad-signature"),
        (standard() | {"webhook-id": "d-2"}, "bad-signature"),
        (standard(BODY + b" "), "bad-signature"),
        (standard(secret=b"x" * 32), "bad-signature"),
        (standard(time="1893553000"), "signature-time"),
        (standard(time="1893554000"), "signature-time"),
        (standard() | {"webhook-timestamp": "soon"}, "signature-form"),
        ({"webhook-signature": standard()["webhook-signature"]}, "signature-header"),
        (standard() | {"X-Hub-Signature-256": sign(BODY, NEW)}, "signature-header"),
        ({"X-Gitlab-Token": NEW.decode()}, "signature-header"),
    ],
)
def test_refuses_gitlabs_by_rule(headers: dict[str, str], rule: str) -> None:
    """What is signed cannot be changed or kept for later, two kinds are not mixed, and a token proves nothing."""
    with pytest.raises(Refused) as refused:
        verify(headers.items(), BODY, (OLD, NEW), now=NOW)
    assert refused.value.rule == rule


def test_without_a_secret_nothing_is_believed() -> None:
    """No secret never means that everybody may."""
    with pytest.raises(Refused):
        verify([("X-Hub-Signature-256", sign(BODY, b""))], BODY, (), now=NOW)


@pytest.mark.parametrize("text", ["", "\n\n", "x" * 31, f"{'x' * 40}\nshort"])
def test_weak_secrets_are_no_secrets(text: str) -> None:
    """A file without a secret, or with a short one, is refused as a whole."""
    with pytest.raises(HostConfigError, match="at least 32 characters"):
        read_secrets(text, path="hook")


def test_two_secrets_while_one_replaces_the_other() -> None:
    """Each line is a secret; space around it does not count."""
    assert read_secrets(f" {OLD.decode()} \n\n{NEW.decode()}\n", path="hook") == (OLD, NEW)


def test_a_delivery_is_its_repository_and_its_bytes() -> None:
    """The same bytes for the same repository are the same delivery, and for another one they are not."""
    assert delivery_id("shop", BODY) == delivery_id("shop", bytes(BODY))
    assert len({delivery_id("shop", BODY), delivery_id("till", BODY), delivery_id("shop", BODY + b" ")}) == 3
