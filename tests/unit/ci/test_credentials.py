"""What counts as a usable cluster credential, and where CI looks for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.ci.credentials import usable
from interlock.ci.host import CiHost
from interlock.contract import strict_yaml
from interlock.errors import CredentialFound
from tasks.ci.credentials import probe

ADDRESS = "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {server: https://prod:6443}\n"
SECRET = "s3cr3t-t0ken"
CREDENTIAL = f"{ADDRESS}users:\n- name: admin\n  user: {{token: {SECRET}}}\n"
CI_YAML = """\
format: 1
prefect: http://127.0.0.1:4200/api
state: /STATE
environment_repository:
  name: environments
  url: http://git/environments.git
  auth: /STATE/../auth
  root: {commit: "%s", keys: ["ssh-ed25519 AAAA"]}
registry: {host: "127.0.0.1:5000"}
signing: {signer: ci-shop, key: /KEY}
trivy: {cache: /cache}
"""


def host(folder: Path) -> CiHost:
    text = CI_YAML.replace("/STATE/../auth", f"{folder}/auth").replace("/STATE", f"{folder}/state")
    return strict_yaml.parse(text.replace("/KEY", f"{folder}/key") % ("a" * 40), CiHost, path="ci.yaml")


@pytest.mark.parametrize(
    "key", ["token", "tokenFile", "client-key", "client-key-data", "client-certificate-data", "password", "exec"]
)
def test_every_kind_of_credential_counts(key: str) -> None:
    """A user entry with any of them lets somebody in."""
    text = json.dumps({"clusters": [{"name": "c"}], "users": [{"name": "admin", "user": {key: "x"}}]})

    assert usable(text.encode()) == f"{key} of user 'admin'"


@pytest.mark.parametrize(
    "text",
    [
        ADDRESS,
        f"{ADDRESS}users: []\n",
        f"{ADDRESS}users:\n- name: nobody\n  user: {{}}\n",
        "users:\n- name: admin\n  user: {token: x}\n",
        "kind: Config\n",
        "clusters of stars: many\n",
        "",
    ],
)
def test_an_address_is_no_credential(text: str) -> None:
    """And neither is a text that is no kubeconfig."""
    assert usable(text.encode()) is None


def test_what_our_parser_cannot_read_still_counts() -> None:
    """Another parser may read it."""
    assert usable(CREDENTIAL.replace("- name: admin", "- name: !strange\t[admin").encode()) is not None


def test_nothing_found_says_what_was_looked_at(tmp_path: Path) -> None:
    """The evidence has it; an address is recorded."""
    environment = {"HOME": str(tmp_path / "home"), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}

    found = probe.fn(host(tmp_path), environment=environment, token_mount=tmp_path / "mount")

    assert str(tmp_path / "mount" / "token") in found.checked
    assert str(tmp_path / "home" / ".kube" / "config") in found.checked
    assert f"{tmp_path}/state/ (0 files)" in found.checked
    assert found.addresses == ("KUBERNETES_SERVICE_HOST=10.0.0.1",)


@pytest.mark.parametrize(
    "place", ["home/.kube/config", "home/notes/old.txt", "state/left", "auth", "key", "mount/token", "elsewhere"]
)
def test_a_credential_is_found_wherever_it_is_and_never_shown(place: str, tmp_path: Path) -> None:
    """Home, state, configured paths, token mount, and files that KUBECONFIG names."""
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CREDENTIAL)
    environment = {"HOME": str(tmp_path / "home"), "KUBECONFIG": f"/nothing:{tmp_path}/elsewhere"}

    with pytest.raises(CredentialFound) as caught:
        probe.fn(host(tmp_path), environment=environment, token_mount=tmp_path / "mount")

    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_variable_may_be_the_kubeconfig(tmp_path: Path) -> None:
    """Pipelines like to keep one in a variable; its name is told, not its value."""
    with pytest.raises(CredentialFound, match="the variable PROD_CLUSTER holds a kubeconfig") as caught:
        probe.fn(host(tmp_path), environment={"PROD_CLUSTER": CREDENTIAL}, home=tmp_path)

    assert SECRET not in str(caught.value)


def test_folders_pipes_and_what_we_may_not_read_are_passed_over(tmp_path: Path) -> None:
    """The probe never hangs and never fails on a strange file."""
    import os

    (tmp_path / "state").mkdir()
    os.mkfifo(tmp_path / "state" / "pipe")
    (tmp_path / "state" / "loop").symlink_to(tmp_path / "state" / "loop")

    probe.fn(host(tmp_path), environment={"SOME": str(tmp_path)}, home=tmp_path / "home", token_mount=tmp_path / "m")
