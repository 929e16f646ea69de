"""The files of one commit, as values: what is decided upon never touches a working copy."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from interlock.errors import FormatError


@dataclass(frozen=True)
class Tree:
    """The regular files of a commit. Paths are relative, with `/`; contents are bytes.

    The reader (`tasks.common.git.read_tree`) refuses symlinks, submodules and executable modes before this exists.
    """

    commit: str
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, files: Mapping[str, bytes], *, commit: str = "0" * 40) -> Tree:
        return cls(commit, MappingProxyType(dict(sorted(files.items()))))

    def text(self, path: str) -> str:
        """The file as text; FormatError when it is missing or not UTF-8."""
        try:
            return self.files[path].decode()
        except KeyError:
            raise FormatError("the file is missing", path=path) from None
        except UnicodeDecodeError as error:
            raise FormatError(f"not UTF-8 at byte {error.start}", path=path) from None

    def under(self, folder: str) -> tuple[str, ...]:
        """The paths below a folder, sorted."""
        prefix = folder.rstrip("/")
        first = bisect_left(self._paths, f"{prefix}/")
        return self._paths[first : bisect_left(self._paths, f"{prefix}0", lo=first)]  # `0` follows `/`

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        return tuple(sorted(self.files))
