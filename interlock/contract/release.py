"""The text of a release.yaml: which image each component of an application runs in one environment."""

from __future__ import annotations

from interlock.contract import strict_yaml
from interlock.contract.models import ReleasedComponent, ReleaseFile

_PATH = "release.yaml"


def read(text: str | None, *, path: str = _PATH) -> ReleaseFile:
    """The file, or an empty one when there is none yet."""
    return ReleaseFile(format=1) if text is None else strict_yaml.parse(text, ReleaseFile, path=path)


def with_component(current_text: str | None, component: str, released: ReleasedComponent) -> str:
    """The new text, in which only this component's entry differs."""
    components = {**read(current_text).components, component: released}
    entries = {name: components[name].model_dump(mode="json", exclude_none=True) for name in sorted(components)}
    return strict_yaml.dump({"format": 1, "components": entries})


def changed_components(old_text: str | None, new_text: str | None) -> frozenset[str]:
    """The components whose entry was added, changed or removed."""
    old, new = read(old_text).components, read(new_text).components
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
