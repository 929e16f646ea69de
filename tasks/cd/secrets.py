"""Opening what is sealed for an environment, with the identity that this host holds for it."""

from __future__ import annotations

from pathlib import Path

from interlock.cd.unseal import unsealed
from interlock.contract import layout, sops
from interlock.contract.render import Rendered
from interlock.contract.repository import Repository
from interlock.contract.sops import SealedFile
from interlock.errors import HostConfigError
from tasks.common.age import Identity, data_key, read_identity
from tasks.common.effect import effect
from tasks.common.redaction import keep_from_dumps, know


@effect(name="open secrets", task_run_name="open secrets {environment}")
def open_secrets(rendered: Rendered, repository: Repository, environment: str, identity: Path | None) -> Rendered:
    """The manifests with the sealed values in their Secrets. They are in this process' memory alone.

    HostConfigError when this host has no identity that opens them; Refused for what is not as it was sealed.
    """
    applications = repository.environments[environment].applications
    rendering = {each.application for each in rendered.manifests}
    files = {name: each.secrets for name, each in applications.items() if each.secrets and name in rendering}
    if not files:
        return rendered
    keep_from_dumps()
    held = _held(identity, environment, next(iter(files.values())))
    opened = {name: sops.opened(file, _key(file, held)) for name, file in files.items()}
    know(*(value.text for values in opened.values() for value in values.values()), sealed=True)
    return unsealed(rendered, opened)


def _held(identity: Path | None, environment: str, file: SealedFile) -> Identity:
    if identity is not None:
        return read_identity(identity)
    raise HostConfigError(
        f"{file.path} is sealed, and cd.yaml names no key that opens it",
        hint=f"let `environments.{environment}.age_identity` of cd.yaml name the file of an identity: "
        f"{layout.RECIPIENTS} has {', '.join(sorted(file.recipients))}",
    )


def _key(file: SealedFile, identity: Identity) -> bytes:
    if identity.recipient not in file.recipients:
        raise HostConfigError(
            f"{file.path} is not sealed to this host: {identity.path} is the identity of {identity.recipient}",
            hint=f"put the identity of one of these there: {', '.join(sorted(file.recipients))}; or add this one to "
            f"{layout.RECIPIENTS} and run `interlock secrets rotate`",
        )
    return data_key(file, identity)
