"""Control groups that a killed sandbox left behind; being no files of ours, they are not in its state folder."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def remove_cgroups(name: str) -> None:
    """Remove the groups below and with this name from every hierarchy; those that still hold a process stay."""
    for hierarchy in (_ROOT, *(path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink())):
        _remove(hierarchy / name)


def limit_processes(name: str, most: int) -> None:
    """Make the group, and let no more processes than this be in it and below it, where the kernel can count them."""
    for hierarchy in (_ROOT / "pids", _ROOT):
        if (hierarchy / "cgroup.procs").exists():
            (hierarchy / name).mkdir(parents=True, exist_ok=True)
            if (limit := hierarchy / name / "pids.max").exists():
                limit.write_text(str(most))
            return


def _remove(group: Path) -> None:
    if not group.is_dir():
        return
    for child in group.iterdir():
        if child.is_dir():
            _remove(child)
    if not (group / "cgroup.procs").read_text().strip():
        group.rmdir()
