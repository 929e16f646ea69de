"""XML from a container that nobody trusts: bounded, and without entities."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from interlock.errors import TestsFailed

MOST_BYTES = 16 << 20


def read_xml(data: bytes, *, what: str, harmless: re.Pattern[str] | None = None) -> ElementTree.Element:
    """The root, without any entity; a first DOCTYPE of a form that is known to declare none may be `harmless`."""
    if len(data) > MOST_BYTES:
        raise TestsFailed(f"{what} has {len(data)} bytes, more than {MOST_BYTES}")
    try:
        # Only ASCII-compatible UTF-8 may stand here, so a DOCTYPE cannot hide in another encoding.
        text = data.decode("utf-8-sig")
        text = harmless.sub("", text, count=1) if harmless else text
        if re.search(r"<!DOCTYPE|<!ENTITY", text, re.IGNORECASE):
            raise TestsFailed(f"{what} has a DOCTYPE, which is refused")
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))  # noqa: S314 - as above
    except (UnicodeDecodeError, ElementTree.ParseError, RecursionError) as error:
        raise TestsFailed(f"{what} cannot be read: {error}") from None
