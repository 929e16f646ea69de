"""A world whose application has sealed values, and what a run in it leaves behind."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from interlock.contract import layout, strict_yaml
from interlock.contract.sealed import place
from tasks.common import git
from tests.cluster.worlds import Recorder, World
from tests.sealing import identity, recipients_file, seal

SECRET = """\
apiVersion: v1
kind: Secret
metadata:
  name: database
data:
  password: {{ secrets.password }}
stringData:
  url: postgres://ada:{{ secrets.password }}@db/{{ values.name }}
"""


@dataclass
class Sealing:
    """A world whose application `shop` has sealed values, and whose host opens them."""

    world: World
    key: Path
    recipient: str

    @property
    def place(self) -> str:
        tree = git.read_tree(self.world.repository.mirror, self.world.head)
        return place(yaml.safe_load(tree.text(layout.ENVIRONMENTS))["id"], "dev", "shop")

    def seal(self, values: dict[str, Any], **more: str | None) -> str:
        sealed = seal(values, self.recipient, to=self.place)
        return self.world.push({layout.secrets("dev", "shop"): sealed, **more})

    def place_of(self, application: str) -> str:
        return f"{self.place.rpartition('/')[0]}/{application}"

    def password(self, name: str = "database", key: str = "password") -> str | None:
        live = self.world.get("Secret", name)
        return None if live is None else base64.b64decode(live["data"][key]).decode()


def configure(world: World, identity_file: Path | None) -> None:
    """Let cd.yaml name the file of an identity, or none."""
    value: Any = strict_yaml.load(world.config.read_text(), path="cd.yaml").value
    value["environments"]["dev"].pop("age_identity", None)
    if identity_file:
        value["environments"]["dev"]["age_identity"] = str(identity_file)
    world.config.write_text(strict_yaml.dump(value))


def begin(world: World, folder: Path) -> Sealing:
    key, recipient = identity()
    file = folder / "age.key"
    file.touch(mode=0o600)
    file.write_text(f"# created for a test\n{key}\n")
    configure(world, file)
    world.push(
        {
            layout.application("shop"): "format: 1\ntemplate: vault\n",
            layout.shared_values("shop"): "name: shop\n",
            "templates/vault/secret.yaml.j2": SECRET,
            layout.RECIPIENTS: recipients_file(recipient),
        }
    )
    return Sealing(world, file, recipient)


def left_behind(world: World, presenter: Recorder, *words: str) -> list[str]:
    """Where any of the words stands in what was told or written by a run."""
    said = str((presenter.notes, presenter.reports, presenter.steps, presenter.named, presenter.tags))
    found = [f"told: {word}" for word in words if word in said]
    for file in (each for each in world.host.state.rglob("*") if each.is_file()):
        content = file.read_bytes()
        found += [f"{file}: {word}" for word in words if word.encode() in content]
    found += [f"ledger: {word}" for word in words if word in str(world.receipts())]
    return found


def forms(text: str) -> tuple[str, ...]:
    return (text, base64.b64encode(text.encode()).decode())
