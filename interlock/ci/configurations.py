"""Which files of a tree a check of configurations could read: what it finds rests on nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

_UNREAD = frozenset(
    (
        *("py", "js", "mjs", "cjs", "jsx", "tsx", "go", "rs", "java", "kt", "c", "h", "cc", "cpp", "hpp", "cs", "rb"),
        *("php", "swift", "scala", "css", "scss", "html", "svg", "png", "jpg", "gif", "md", "rst"),
    )
)
"""Suffixes of files that no check reads by itself."""
_NAMING_OTHERS = frozenset(("tf", "tofu", "tfvars", "hcl", "tpl", "tftpl", "cfg", "tgz", "gz", "tar", "zip"))
"""Suffixes of files, or of archives with such, that may name any other: Terraform, Helm, Ansible."""


def read_by_checks(names: Sequence[str], dockerfiles: Collection[str] = ()) -> list[str]:
    """Of the names of all files of a tree; all of them where one may name any other."""
    if any(map(_may_name_others, map(PurePosixPath, names))):
        return list(names)
    return [name for name in names if name in dockerfiles or _may_be_checked(PurePosixPath(name))]


def _may_name_others(path: PurePosixPath) -> bool:
    suffixes = {suffix.removeprefix(".").lower() for suffix in path.suffixes}
    return path.name.lower() == "chart.yaml" or not suffixes.isdisjoint(_NAMING_OTHERS)


def _may_be_checked(path: PurePosixPath) -> bool:
    """By its name; `Dockerfile.go` is a Dockerfile."""
    is_recipe = "dockerfile" in path.name.lower() or "containerfile" in path.name.lower()
    return is_recipe or path.suffix.removeprefix(".").lower() not in _UNREAD
