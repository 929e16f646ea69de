"""Files that SOPS sealed with age, read strictly and written so that SOPS itself reads them.

A file is one mapping below one key, the place that it is sealed to (`interlock.contract.sealed.place`). SOPS
authenticates the path of keys of every value, so what was sealed to one place opens at no other. Every value is
sealed; SOPS' MAC, which holds the values together, covers them all.

`read` needs no key: whoever may not open a file can still see that it is well-formed, where it belongs and to whom it
is sealed. `opened` and `sealed` are given the file's data key, which age seals to each recipient.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.contract import strict_yaml
from interlock.contract.strict_yaml import Document, Path
from interlock.errors import FormatError, InputError, Refused

KEY_BYTES = 32
NONCE_BYTES = 32
"""As SOPS has it, which is longer than GCM's usual twelve."""
MOST_RECIPIENTS = 50
VERSION = "3.13.3"
"""The newest version of SOPS whose files these are held to."""
RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_METADATA = "sops"
_OPEN_SUFFIX = "_unencrypted"
_TAG_BYTES = 16
_ARMOR = "-----{} AGE ENCRYPTED FILE-----"
_VALUE = re.compile(
    r"ENC\[AES256_GCM,data:([A-Za-z0-9+/=]+),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),"
    r"type:(str|int|float|bool|bytes|time)\]"
)
_OTHERS = ("kms", "gcp_kms", "azure_kv", "hc_vault", "hckms", "pgp", "key_groups")
_TRUTHS = (b"True", b"False")
"""What a bool is written as. Neither the values' own tags nor the MAC cover the type, so whoever may write the file
can change it."""
_SEAL = "seal the file anew: `interlock secrets seal`"


@dataclass(frozen=True)
class Value:
    """One sealed value: what stands in the file, and the path of keys that it is sealed to."""

    where: Path
    """In the file, with the indices of lists, which SOPS does not count."""
    text: str

    @property
    def name(self) -> str:
        """Its place below the file's key, as templates name it."""
        return ".".join(map(str, self.where[1:]))

    @property
    def digest(self) -> str:
        """Of the ciphertext and its place: another one whenever it is sealed anew."""
        content = "\0".join((*map(str, self.where), self.text))
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    @property
    def _data(self) -> bytes:
        return ":".join((*(step for step in self.where if isinstance(step, str)), "")).encode()

    def open(self, key: bytes) -> tuple[bytes, str]:
        """What is in it, and of which type; InvalidTag when the key or the path is another one."""
        return _decrypt(key, self.text, self._data)


@dataclass(frozen=True)
class SealedFile:
    """A file as anybody can read it."""

    path: str
    place: str
    """The one key that it begins with: where it is sealed to."""
    tree: Mapping[str, Any] = field(repr=False)
    """What is below that key, with a `Value` for each leaf; an empty text and null are never sealed."""
    values: tuple[Value, ...] = field(repr=False)
    """In the order of the file."""
    recipients: Mapping[str, str] = field(repr=False)
    """Each recipient, and the data key sealed to it."""
    mac: str = field(repr=False)
    modified: str = ""
    document: Document | None = field(default=None, repr=False, compare=False)

    def error(self, message: str, where: Path = (), *, hint: str = "") -> FormatError:
        assert self.document is not None  # noqa: S101 - every file that was read has one
        return self.document.error(message, where, hint=hint)


def read(text: str, *, path: str) -> SealedFile:
    """The file, or the FormatError of the first thing in it that is not sealed as it must be."""
    document = strict_yaml.load(text, path=path)
    value = document.value
    if not isinstance(value, dict) or _METADATA not in value:
        message = "is not sealed: it has no `sops` entry"
        raise document.error(message, (), hint="never commit it: `interlock secrets seal` makes the file")
    places = [key for key in value if key != _METADATA]
    if len(places) != 1 or not isinstance(value[places[0]], dict):
        message = f"must have one mapping beside `sops`, and has {', '.join(places) or 'none'}"
        raise document.error(message, (), hint="that mapping's key is the place that the file is sealed to")
    recipients, mac, modified = _metadata(document, value[_METADATA])
    place = places[0]
    values: list[Value] = []
    tree = _leaves(document, value[place], (place,), values)
    return SealedFile(path, place, tree, tuple(values), recipients, mac, modified, document)


def _leaves(document: Document, value: Any, where: Path, found: list[Value]) -> Any:
    if isinstance(value, dict):
        for key in value:
            if why := unfit(key):
                raise document.error(why, (*where, key), hint="name it otherwise")
        return {key: _leaves(document, each, (*where, key), found) for key, each in value.items()}
    if isinstance(value, list):
        return [_leaves(document, each, (*where, index), found) for index, each in enumerate(value)]
    if value is None or value == "":
        return value
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        message = f"the value {'.'.join(map(str, where[1:]))} is not sealed"
        hint = "take it out and change it wherever it is used: it stands in the history of the repository"
        raise document.error(message, where, hint=hint)
    found.append(Value(where, value))
    return found[-1]


def unfit(key: str) -> str:
    """What is wrong with a key of a file to be sealed; nothing when it may be there."""
    if ":" in key:
        return f"the key {key!r} has a colon, by which SOPS joins keys: two places could be the same"
    return f"the key {key!r} ends as those do that SOPS leaves open" if key.endswith(_OPEN_SUFFIX) else ""


def _metadata(document: Document, value: Any) -> tuple[dict[str, str], str, str]:
    if not isinstance(value, dict):
        raise document.error("`sops` must be a mapping", (_METADATA,))
    if value.get("mac_only_encrypted"):
        message = "mac_only_encrypted leaves values out of the MAC"
        raise document.error(message, (_METADATA, "mac_only_encrypted"), hint=_SEAL)
    if foreign := [name for name in _OTHERS if value.get(name)]:
        message = f"is sealed by {foreign[0]} too, and may be by age alone"
        raise document.error(message, (_METADATA, foreign[0]), hint=_SEAL)
    mac, modified = value.get("mac"), value.get("lastmodified")
    for name, each in (("mac", mac), ("lastmodified", modified)):
        if not isinstance(each, str) or not each:
            raise document.error(f"`sops` has no {name}", (_METADATA, name), hint=_SEAL)
    if not _VALUE.fullmatch(str(mac)):
        raise document.error("the MAC is not as SOPS writes it", (_METADATA, "mac"), hint=_SEAL)
    return _recipients(document, value.get("age")), str(mac), str(modified)


def _recipients(document: Document, value: Any) -> dict[str, str]:
    entries = value if isinstance(value, list) else []
    if not 0 < len(entries) <= MOST_RECIPIENTS:
        message = f"must have 1 to {MOST_RECIPIENTS} recipients under `age`, and has {len(entries)}"
        raise document.error(message, (_METADATA, "age"), hint=_SEAL)
    found: dict[str, str] = {}
    for index, entry in enumerate(entries):
        where: Path = (_METADATA, "age", index)
        recipient, enc = (entry.get(name) if isinstance(entry, dict) else None for name in ("recipient", "enc"))
        if not isinstance(recipient, str) or not RECIPIENT.fullmatch(recipient) or not isinstance(enc, str):
            raise document.error("is no recipient of age with a sealed key", where, hint=_SEAL)
        if not _for_one(enc):
            message = f"the data key for {recipient} may be sealed to others as well, unseen"
            raise document.error(message, where, hint="`interlock secrets rotate` seals it to the declared recipients")
        if recipient in found:
            raise document.error(f"the recipient {recipient} stands there twice", where, hint=_SEAL)
        found[recipient] = enc
    return found


def _for_one(enc: str) -> bool:
    """Whether an age file names one recipient alone, beside what implementations add as grease."""
    body = enc.strip().removeprefix(_ARMOR.format("BEGIN")).removesuffix(_ARMOR.format("END"))
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    header, mark, _ = content.partition(b"\n--- ")
    kinds = [line.split(b" ")[1] for line in header.split(b"\n") if line.startswith(b"-> ")]
    rest = [kind for kind in kinds if not kind.endswith(b"-grease")]
    return mark != b"" and header.startswith(b"age-encryption.org/v1\n") and rest == [b"X25519"]


# opening ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """What was sealed. Nobody prints it by accident."""

    content: bytes = field(repr=False)
    type: str

    @property
    def text(self) -> bytes:
        """As a Secret has it: what SOPS writes `True` is `true` everywhere else."""
        return self.content.lower() if self.type == "bool" else self.content


def opened(file: SealedFile, key: bytes) -> dict[str, Opened]:
    """Every value by its digest. Refused when one of them, or all together, are not what was sealed to this place."""
    if len(key) != KEY_BYTES:
        _refuse(file, f"its data key has {len(key)} bytes, not {KEY_BYTES}")
    found: dict[str, Opened] = {}
    mac = hashlib.sha512()
    for value in file.values:
        try:
            content, kind = value.open(key)
        except (InvalidTag, ValueError):
            _refuse(file, f"the value {value.name} was not sealed to this place, or was changed since", value.where)
        if kind == "bool" and content not in _TRUTHS:
            _refuse(file, f"the value {value.name} is called a bool and is none", value.where)
        mac.update(content)
        found[value.digest] = Opened(content, kind)
    try:
        said, _ = _decrypt(key, file.mac, file.modified.encode())
    except (InvalidTag, ValueError):
        _refuse(file, "its MAC does not belong to it")
    if not hmac.compare_digest(said, mac.hexdigest().upper().encode()):
        _refuse(file, "the MAC says that values were added, removed or moved since it was sealed")
    return found


def plain(file: SealedFile, values: Mapping[str, Opened]) -> dict[str, Any]:
    """What was sealed, as a document of YAML has it."""

    def leaf(each: Any) -> Any:
        if isinstance(each, dict):
            return {key: leaf(below) for key, below in each.items()}
        if isinstance(each, list):
            return [leaf(below) for below in each]
        return _typed(file, each, values[each.digest]) if isinstance(each, Value) else each

    return {key: leaf(each) for key, each in file.tree.items()}


def _typed(file: SealedFile, value: Value, opened: Opened) -> object:
    try:
        text = opened.content.decode()
        match opened.type:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return text.lower() == "true"
            case _:
                return text
    except ValueError:
        _refuse(file, f"the value {value.name} is no {opened.type}", value.where)


def _refuse(file: SealedFile, why: str, where: Path = ()) -> NoReturn:
    line = file.document.line(where) if file.document else 1
    hint = f"whoever has the values seals them anew, to {file.place}: `interlock secrets seal`"
    raise Refused(f"{file.path}:{line}: {why}", rule="sealed", hint=hint) from None


def _decrypt(key: bytes, text: str, data: bytes) -> tuple[bytes, str]:
    """ValueError for what is not base64 or too short."""
    parts = _VALUE.fullmatch(text)
    if parts is None:
        raise ValueError("not a sealed value")
    try:
        sealed, nonce, tag = (base64.b64decode(parts[index], validate=True) for index in (1, 2, 3))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if len(tag) != _TAG_BYTES:
        raise ValueError("a short tag")
    return AESGCM(key).decrypt(nonce, sealed + tag, data), parts[4]


# sealing ---------------------------------------------------------------------------------------------


def sealed(
    values: Mapping[str, Any],
    *,
    place: str,
    keys: Mapping[str, str],
    key: bytes,
    nonces: Iterator[bytes],
    modified: str,
) -> str:
    """The file that holds these values. `keys` has, for each recipient, the data key as age sealed it.

    `nonces` gives random bytes, never the same twice; `modified` is the time in RFC 3339, to the second.
    """
    mac = hashlib.sha512()

    def leaf(value: Any, data: Sequence[str]) -> Any:
        if isinstance(value, Mapping):
            if why := next(filter(None, map(unfit, value)), ""):
                raise InputError(why, hint="name it otherwise")
            return {name: leaf(each, (*data, name)) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [leaf(each, data) for each in value]
        if value is None or value == "":
            return value
        content, kind = _content(value)
        mac.update(content)
        return _encrypt(key, content, kind, next(nonces), ":".join((*data, "")))

    body = {place: leaf(values, (place,))}
    said = _encrypt(key, mac.hexdigest().upper().encode(), "str", next(nonces), modified)
    recipients = [{"recipient": name, "enc": keys[name]} for name in sorted(keys)]
    metadata = {
        "age": recipients,
        "lastmodified": modified,
        "mac": said,
        # SOPS' own default: without one of its rules it would seal keys like these as well.
        "unencrypted_suffix": _OPEN_SUFFIX,
        "version": VERSION,
    }
    return strict_yaml.dump({**body, _METADATA: metadata})


def _content(value: object) -> tuple[bytes, str]:
    match value:
        case bool():
            return str(value).encode(), "bool"
        case int():
            return str(value).encode(), "int"
        case float():
            return repr(value).encode(), "float"
        case _:
            return str(value).encode(), "str"


def _encrypt(key: bytes, content: bytes, kind: str, nonce: bytes, data: str) -> str:
    both = AESGCM(key).encrypt(nonce, content, data.encode())
    parts = (base64.b64encode(part).decode() for part in (both[:-_TAG_BYTES], nonce, both[-_TAG_BYTES:]))
    text, iv, tag = parts
    return f"ENC[AES256_GCM,data:{text},iv:{iv},tag:{tag},type:{kind}]"
