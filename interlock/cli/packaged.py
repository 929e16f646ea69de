"""Where the files that come with Interlock are: beside the package in a wheel, at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def templates() -> Path:
    """The folder with `sets/` and `scaffolds/`."""
    return _packaged("_templates", "templates")


def prefect_file() -> Path:
    """prefect.yaml, which declares the deployments."""
    return _packaged("_prefect.yaml", "prefect.yaml")


def template_set(name: str) -> dict[str, bytes]:
    """A built-in template set's files by their path within it; empty when there is none of that name."""
    folder = templates() / "sets" / name
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def template_sets() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in (templates() / "sets").iterdir() if path.is_dir()))


def scaffold(kind: str, name: str) -> str:
    """One text of templates/scaffolds."""
    return (templates() / "scaffolds" / kind / name).read_text()


def _packaged(installed: str, checkout: str) -> Path:
    # The installed one first: beside a wheel, `templates` could be anybody's.
    beside = _PACKAGE / installed
    return beside if beside.exists() else _PACKAGE.parent / checkout
