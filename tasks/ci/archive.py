"""A look into an image's archive with our own eyes: what an image has, whatever it says of itself."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from interlock.ci.image_configuration import EMPTY_LAYER
from interlock.ci.systems import Form, form_at
from interlock.errors import ScanFailed

_LAYER = re.compile(r"(.*/)?layer\.tar|[^/]+\.tar(\.gz)?|blobs/sha256/[0-9a-f]{64}")
_MOST_CONFIGURATION_BYTES = 8 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"


def package_lists(archive: Path, *, seconds: float) -> Mapping[Form, str]:
    """Where systems' lists of packages are in any of the image's layers, also those that a later layer removes.

    One path for each form. ScanFailed when that takes too long, or the archive or a layer cannot be read to its end.
    """
    deadline = time.monotonic() + seconds
    found: dict[Form, str] = {}
    try:
        with tarfile.open(archive) as outer:
            layers = (member for member in outer if member.isfile() and _LAYER.fullmatch(member.name))
            for file in (file for member in layers if (file := outer.extractfile(member))):
                found = {**_in_layer(_Timed(file, deadline)), **found}
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ScanFailed(f"the image's archive cannot be read: {error}") from error
    return found


def configuration(archive: Path) -> bytes:
    """An image's configuration, as the archive's manifest.json names it; ScanFailed when there is none."""
    try:
        with tarfile.open(archive) as outer:
            (image,) = json.loads(_small_file(outer, "manifest.json"))
            return _small_file(outer, image["Config"])
    except (tarfile.TarError, OSError, EOFError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ScanFailed(f"the image's archive has no configuration: {error}") from error


def _small_file(outer: tarfile.TarFile, name: str) -> bytes:
    member = outer.getmember(name)
    file = outer.extractfile(member) if member.isfile() and member.size <= _MOST_CONFIGURATION_BYTES else None
    if file is None:
        raise ValueError(f"{name} is no file of a size that we read")
    return file.read()


def write_without_contents(archive: Path, config: bytes) -> None:
    """An image of this configuration whose layers are empty, as `docker save` writes one."""
    layers = [f"layer-{number}.tar" for number, _ in enumerate(json.loads(config)["rootfs"]["diff_ids"])]
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": layers}]
    files = {
        "config.json": config,
        "manifest.json": json.dumps(manifest).encode(),
        **dict.fromkeys(layers, EMPTY_LAYER),
    }
    with tarfile.open(archive, "w") as outer:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            outer.addfile(member, io.BytesIO(content))


def _in_layer(file: _Timed) -> Mapping[Form, str]:
    """The manifest and the configuration lie among the layers of some archives: what is no archive has nothing."""
    if file.read(len(_ZSTD)) == _ZSTD:
        return {"unread": "a layer that we cannot unpack (zstd)"}
    file.seek(0)
    try:
        layer = tarfile.open(fileobj=file)  # noqa: SIM115 - what goes wrong later is no sign that it is no archive
    except tarfile.ReadError:
        return {}
    with layer:
        files = (member for member in layer if member.isfile() or _is_link(member))
        places = ((form, member) for member in files if (form := form_at(member.name)))
        found: list[tuple[Form, str]] = [("link" if _is_link(member) else form, member.name) for form, member in places]
        return dict(reversed(found))


def _is_link(member: tarfile.TarInfo) -> bool:
    """Also a second name of a file, which whoever unpacks a layer cannot tell from the first."""
    return member.islnk() or member.issym()


class _Timed(io.RawIOBase):
    """A file that cannot be read for ever."""

    def __init__(self, file: IO[bytes], deadline: float) -> None:
        self._file, self._deadline = file, deadline

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise ScanFailed("the image's layers were not read in time")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readable(self) -> bool:
        return True
