"""The sealed values of an application: what a commit must fulfil for them, without anybody's key.

`environments/<env>/<app>/secrets.yaml` is sealed to its own place and to the recipients that trust/recipients.yaml
gives the environment, to all of them and to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.contract import layout, sops, strict_yaml
from interlock.contract.models import Recipient, RecipientsFile
from interlock.contract.sops import SealedFile
from interlock.contract.tree import Tree


def place(repository_id: str, environment: str, application: str) -> str:
    """The key that an application's file has around everything, and so what its values are sealed to."""
    return f"{repository_id}/{environment}/{application}"


def read_recipients(tree: Tree, environments: tuple[str, ...] | None = None) -> tuple[Recipient, ...]:
    """Whom values are sealed to; none when the file is missing. Names are looked up where `environments` are given."""
    if layout.RECIPIENTS not in tree.files:
        return ()
    document = strict_yaml.load(tree.text(layout.RECIPIENTS), path=layout.RECIPIENTS)
    found = strict_yaml.validate(document, RecipientsFile).recipients
    seen: dict[str, str] = {}
    for index, each in enumerate(found):
        for field, text in (("name", each.name), ("recipient", each.recipient)):
            if text in seen:
                message = f"the {field} {text} stands there twice"
                raise document.error(message, ("recipients", index, field), hint="join the two")
            seen[text] = field
        for at, name in enumerate(each.environments):
            if environments is not None and name not in environments:
                where = ("recipients", index, "environments", at)
                hint = f"there are: {', '.join(environments) or 'none'}"
                raise document.error(f"there is no environment {name!r}", where, hint=hint)
    return found


def read_sealed(
    tree: Tree, environment: str, application: str, *, repository_id: str, recipients: tuple[Recipient, ...]
) -> SealedFile | None:
    """The application's file, None when it has none. FormatError when it is not sealed as the commit says."""
    path = layout.secrets(environment, application)
    if path not in tree.files:
        return None
    file = sops.read(tree.text(path), path=path)
    require_sealed_as(file, place(repository_id, environment, application), declared(recipients, environment))
    return file


def declared(recipients: tuple[Recipient, ...], environment: str) -> dict[str, str]:
    """Whom an environment's values are sealed to: their names, by recipient."""
    return {each.recipient: each.name for each in recipients if environment in each.environments}


def require_sealed_as(file: SealedFile, own: str, declared: Mapping[str, str]) -> None:
    """FormatError unless the file is sealed to its own place, and to just those recipients (their names by key)."""
    if file.place != own:
        message = f"is sealed to {file.place}, and lies where {own} belongs"
        hint = "what was sealed for one application opens for no other: `interlock secrets seal` makes its own file"
        raise file.error(message, (file.place,), hint=hint)
    if foreign := sorted(set(file.recipients) - set(declared)):
        message = f"is sealed to {foreign[0]} too, which {layout.RECIPIENTS} does not give this environment"
        hint = "`interlock secrets rotate` seals it to the declared ones; change the values, which are known to others"
        raise file.error(message, ("sops", "age"), hint=hint)
    if missing := sorted(set(declared) - set(file.recipients)):
        message = f"is not sealed to {declared[missing[0]]} ({missing[0]}), as {layout.RECIPIENTS} asks"
        raise file.error(message, ("sops", "age"), hint="`interlock secrets rotate` seals it to the declared ones")
