"""`interlock schema`: what it says of our files is what Interlock reads, and editors find it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from interlock.cd.receipts import Receipt
from interlock.cli import file_schemas
from interlock.cli.file_schemas import FORMS, FileForm
from interlock.contract.approvals import Approval
from interlock.contract.models import File
from tests import examples_of_repositories as example
from tests.fitting import let_pass, misfits, misfits_below
from tests.unit.cli.commands import git, interlock
from tests.unit.cli.test_documents import shown

ROOT = Path(__file__).resolve().parents[3]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAW8LGAGdNEG0TIzOmqMPdJlgmxxABsK0Xm/2KuFwNnx"
_HEAD = ("--prefect", "http://prefect.example:4200/api", "--environment-repository", "environments")
_HOST = (*_HEAD, "--url", "https://git.example/e.git", "--root-commit", "d" * 40, "--root-key", KEY, "--key", "/k")
HOSTS = ("ci", "cd", "receiver", "signer")
FENCED = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def by_name(name: str) -> FileForm:
    return next(form for form in FORMS if form.name == name)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What the commands make that the demo and the README begin with: both repositories and the hosts' files."""
    run = [
        ("key", "ci.key"),
        ("init", "application", "shop", "--yes"),
        ("init", "environment", "environments", *_FIRST, "--ci-key", "ci.key.pub", "--yes"),
        ("key", "--attestation", "shop.key"),
        ("attester", "shop", "environments", "--key", "shop.key.pub", "--branch", "main", "--yes"),
        ("attester", "hello", "environments", "--unsigned", "nobody signs for it yet", "--yes"),
        ("bind", "environments", "--application", "hello", "--image", "r.example/hello/web", "--yes"),
        (
            *("register", "ci", *_HOST, "--signer", "ci-shop", "--registry", "r.example", "--config", "ci.yaml"),
            *("--buildx", "/usr/libexec/docker/cli-plugins/docker-buildx", "--buildkit", "unix:///run/b.sock"),
            *("--rescan-seconds", "3600", "--components-at-once", "4"),
        ),
        ("register", "application", "shop", "--url", "https://git.example/shop.git", "--config", "ci.yaml"),
        ("register", "cd", *_HOST, "--signer", "cd", *_LEDGER, "--config", "cd.yaml"),
        ("register", "cluster", "sandbox", "--kubeconfig", "/kubeconfig", "--config", "cd.yaml"),
        ("register", "environment", "dev", "--cluster", "sandbox", "--namespace", "shop", "--config", "cd.yaml"),
        ("register", "receiver", "--prefect", "http://prefect.example:4200/api", "--config", "receiver.yaml"),
        ("register", "hook", "shop", "--secret", "/secret", "--config", "receiver.yaml"),
        ("register", "signer", *_SIGNER, "--state", str(tmp_path), "--config", "signer.yaml"),
        ("register", "signed", "shop", "--url", "https://git.example/shop.git", *_KMS, "--config", "signer.yaml"),
    ]
    service = tmp_path / "shop" / "tests"
    service.mkdir(parents=True)
    (service / "test_shop.py").write_text("import unittest\n")
    (tmp_path / "shop" / "Dockerfile").write_text("FROM python:3.11\nCOPY tests tests\n")
    for words in run:
        done = interlock(*words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


_FIRST = ("--application", "shop", "--image", "r.example/shop/web")
_SIGNER = (
    *("--listen", "/run/signer.sock", "--client", "ci", "--builder", "ci-shop", "--registry", "r.example"),
    *_HOST[2:-2],
)
_KMS = ("--key-kms", "acme:keys/shop")
_LEDGER = ("--ledger", "ledger", "--ledger-url", "https://git.example/ledger.git")


def test_what_was_asked_for_stands_in_a_hosts_file(made: Path) -> None:
    """Options of `register ci` that have defaults."""
    text = (made / "ci.yaml").read_text()
    assert "rescan_seconds: 3600\n" in text
    assert "components_at_once: 4\n" in text


def test_what_the_commands_write_fits_its_schema(made: Path) -> None:
    """Repositories and hosts' files alike; each kind of file that the commands write was looked at."""
    found = misfits_below(made / "environments") | misfits_below(made / "shop")
    hosts = {name: misfits(by_name(name), (made / f"{name}.yaml").read_text()) for name in HOSTS}

    assert not {path: said for path, said in (found | hosts).items() if said}
    kinds = {form.name for path in found if (form := file_schemas.form_of(path))}
    assert {form.name for form in FORMS} - kinds == {
        *HOSTS,
        "deny",
        "hook",
        "images",
        "release",
        "health",
        "freshness",
        "protection",
        "recipients",
        "rules",
    }


def test_what_the_commands_write_names_a_schema_that_is_there(made: Path) -> None:
    """In its first line, as the YAML language server asks for it, and with a path that leads to the right one."""
    for folder in (made / "environments", made / "shop"):
        for path in misfits_below(folder):
            first = (folder / path).read_text().partition("\n")[0]
            named = (folder / path).parent / first.removeprefix("# yaml-language-server: $schema=")
            form = file_schemas.form_of(path)
            assert form is not None
            assert json.loads(named.read_text()) == file_schemas.schema(form), path


def test_a_repository_of_before_gets_the_schemas_with_its_next_application(made: Path) -> None:
    """`bind` brings what its new files name, and a later one leaves it alone."""
    clone = made / "environments"
    git("rm", "-r", "--quiet", file_schemas.FOLDER, folder=clone)
    words = ("bind", "environments", "--application", "third", "--image", "r.example/third/web", "--source", "hello")
    done = interlock(*words, "--yes", "-o", "json", folder=made)

    assert f"{file_schemas.FOLDER}/application.schema.json" in json.loads(done.stdout)["written"]


def test_a_hosts_file_keeps_the_line_of_its_editor(made: Path) -> None:
    """`register` writes the file anew, below that line, and only once."""
    line = "# yaml-language-server: $schema=schemas/cd.schema.json\n"
    file = made / "cd.yaml"
    file.write_text(line + file.read_text())
    words = ("register", "cluster", "other", "--kubeconfig", "/other", "--config", "cd.yaml")
    assert interlock(*words, folder=made).returncode == 0
    assert interlock(*words, folder=made).returncode == 0

    assert file.read_text().startswith(f"{line}# cd.yaml, written by")
    assert file.read_text().count("# cd.yaml, written by") == 1
    assert file.read_text().count("other:") == 1


def test_what_ci_writes_fits_its_schema() -> None:
    """A release, and everything beside it."""
    files = example.environment_tree().files
    found = {path: form for path in files if (form := file_schemas.form_of(path))}

    assert "environments/dev/shop/release.yaml" in found
    assert not {path: said for path, form in found.items() if (said := misfits(form, files[path].decode()))}


def test_what_the_pages_show_fits_its_schema() -> None:
    """The page of the format has every field of every file; the page of the hosts has cd.yaml."""
    files = {path: text for path, text in shown().items() if file_schemas.form_of(path)}
    hosts = FENCED.findall((ROOT / "docs/hosts.md").read_text())

    assert len(files) >= 9
    for path, text in files.items():
        form = file_schemas.form_of(path)
        assert form is not None
        assert misfits(form, text) == [], path
        assert let_pass(form, text) == [], path
    assert [misfits(by_name("cd"), text) for text in hosts if "clusters:" in text] == [[]]


def test_an_unknown_field_fails_wherever_it_stands(made: Path) -> None:
    """In every mapping of every file that has a form, those whose keys are names included."""
    clone, application = made / "environments", made / "shop"
    texts = [(file_schemas.form_of(path), clone / path) for path in misfits_below(clone)]
    texts += [(file_schemas.form_of(path), application / path) for path in misfits_below(application)]
    texts += [(by_name(name), made / f"{name}.yaml") for name in HOSTS]

    assert not {str(path): passed for form, path in texts if form and (passed := let_pass(form, path.read_text()))}


def test_every_kind_of_file_has_a_schema() -> None:
    """A new one needs a line in file_schemas; receipts and approvals are no files that people write."""
    kinds: list[type[File]] = [File]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    with_form: set[type[File]] = {Receipt, Approval, *(form.model for form in FORMS)}
    private = {kind for kind in kinds if kind.__name__.startswith("_")}  # what one reader needs of another's file

    assert {kind for kind in kinds if not kind.__subclasses__()} - private == with_form


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_field_is_described_in_valid_schemas(form: FileForm) -> None:
    """Each is valid by the 2020-12 draft, and nothing of Python's names shows in it."""
    made = file_schemas.schema(form)

    Draft202012Validator(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["description"].startswith(form.where)
    assert made["additionalProperties"] is False
    assert "dict[" not in json.dumps(made)


def test_a_field_says_what_its_docstring_says() -> None:
    """That of the field itself, or of the type that it has; a pattern is told in words."""
    properties = file_schemas.schema(by_name("environment"))["properties"]
    cd = file_schemas.schema(by_name("cd"))["properties"]

    assert properties["namespaces"]["description"].startswith("The first is where templates put objects")
    assert properties["cluster"]["description"].startswith("A DNS label")
    assert properties["cluster"]["patternErrorMessage"].startswith("must be a name")
    assert file_schemas.schema(by_name("environment"))["$defs"]["Budget"]["description"].startswith("The most that one")
    assert cd["state"]["description"].startswith("A folder that the worker's user may write")


def test_the_command_lists_prints_and_writes(tmp_path: Path) -> None:
    """The list has every name that can be asked for; --all writes each of them."""
    listed = interlock("schema", folder=tmp_path)
    names = list(json.loads(interlock("schema", "--output", "json", folder=tmp_path).stdout))
    printed = interlock("schema", "gate", folder=tmp_path)
    written = interlock("schema", "--all", "deep/schemas", folder=tmp_path)

    assert all(name in listed.stdout for name in names)
    assert "environments/*/environment.yaml" in listed.stdout
    assert json.loads(printed.stdout) == file_schemas.schema(by_name("gate"))
    assert written.returncode == 0
    folder = tmp_path / "deep" / "schemas"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.schema.json" for name in names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "nosuch: there is no schema of that name"),
        (("gate", "--all", "x"), "one document, or --all DIR: not both"),
        (("--all", "file/below"), "file/below: "),
    ],
)
def test_a_wrong_word_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, and nothing is written."""
    (tmp_path / "file").write_text("")
    done = interlock("schema", *words, folder=tmp_path)

    assert done.returncode == 2
    assert f"error: {said}" in done.stderr
    assert not (tmp_path / "x").exists()
