"""`interlock init environment`: a whole environment repository, from its first, signed commit."""

from __future__ import annotations

import getpass
import re
import secrets
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from interlock.cli import application, names, output
from interlock.cli import key as keys
from interlock.cli.application import Force, Yes
from interlock.cli.key import SigningKey
from interlock.cli.output import Format, Output
from interlock.contract import layout
from interlock.errors import InputError

EXAMPLES = """\b
Examples:
  interlock key ci.key                       # CI's key; in earnest it is made on the CI host
  interlock init environment environments --application shop \\
      --image registry.example.org/shop/web --ci-key ci.key.pub
  interlock init environment environments --application shop --component web --source shop \\
      --image 127.0.0.1:5000/shop/web --namespace shop --port 8080 --ci-key "ssh-ed25519 AAAA…" --yes
"""


@dataclass(frozen=True)
class Answers:
    """What `init environment` was told."""

    environment: str
    application: str
    component: str
    source: str
    image: str
    namespace: str
    cluster: str
    port: int
    health: str
    template: str
    signer: str
    public: str
    ci_signer: str
    ci_public: str


def init_environment(
    *,
    application_name: Annotated[
        str, typer.Option("--application", help="The application to begin with, such as shop.", callback=names.name)
    ],
    image: Annotated[
        str, typer.Option(help="Where CI pushes the image: HOST/PATH without a tag.", callback=names.image_repository)
    ],
    ci_key: Annotated[str, typer.Option(help="CI's public key: the text, or a file with it.")],
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The new repository.", file_okay=False)] = Path(),
    environment: Annotated[str, typer.Option(help="The environment's name.", callback=names.name)] = "dev",
    component: Annotated[
        str, typer.Option(help="The component's name in interlock.yaml.", callback=names.name)
    ] = "web",
    source: Annotated[
        str | None,
        typer.Option(
            help="The source repository's name on the CI host.  [default: the application]", callback=names.repository
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="The namespace to run in.  [default: the application]", callback=names.name)
    ] = None,
    cluster: Annotated[str, typer.Option(help="The cluster's name on the CD host.", callback=names.name)] = "sandbox",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port that the container listens on.")] = 8080,
    health: Annotated[
        str, typer.Option(help="The path that answers 200 when the service is well.", callback=names.url_path)
    ] = "/health",
    template: Annotated[str, typer.Option(help="The built-in template set to copy.", callback=names.name)] = "service",
    ci_signer: Annotated[
        str | None, typer.Option(help="CI's name as a signer.  [default: ci-APPLICATION]", callback=names.name)
    ] = None,
    signer: Annotated[
        str | None, typer.Option(help="Your name as a signer.  [default: your login name]", callback=names.name)
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Your signing key; made when there is none.  [default: ~/.config/interlock/signing-key]"),
    ] = None,
    yes: Yes = False,
    force: Force = False,
    form: Output = Format.TABLE,
) -> None:
    """Make an environment repository for one application in one environment.

    Its first commit is signed with your key, and git is set up to sign the later ones. The last lines are what both
    hosts must be told: the root pin (first commit and key).
    """
    if (folder / ".git").exists():
        raise InputError(f"{folder}: a git repository already", hint="name a new folder")
    ci_public = keys.public_key(ci_key)
    mine = keys.signing_key(key or keys.default_path())
    keys.tell(mine)
    answers = Answers(
        environment=environment,
        application=application_name,
        component=component,
        source=source or application_name,
        image=image,
        namespace=namespace or application_name,
        cluster=cluster,
        port=port,
        health=health,
        template=template,
        signer=signer or _login(),
        public=mine.public,
        ci_signer=ci_signer or f"ci-{application_name}",
        ci_public=ci_public,
    )
    files = scaffold(answers)
    _check(files)
    application.write(folder, {path: data.decode() for path, data in files.items()}, yes=yes, force=force)
    _finish(folder, answers, root=_commit(folder, sorted(files), mine, answers), form=form)


def scaffold(answers: Answers) -> dict[str, bytes]:
    """Every file of the new repository, by path."""
    from interlock.cli import packaged

    readme = Template(packaged.scaffold("environment", "README.md")).substitute(
        environment=answers.environment, application=answers.application
    )
    templates = template_files(answers.template)
    texts = {
        "README.md": readme,
        ".editorconfig": packaged.scaffold("environment", "editorconfig"),
        **schema_files(),
        **_trust(answers),
        **_state(answers, templates),
    }
    return {path: text.encode() for path, text in texts.items()} | templates


def template_files(template: str) -> dict[str, bytes]:
    """A built-in template set as it lies in an environment repository."""
    from interlock.cli import packaged

    found = packaged.template_set(template)
    if not found:
        known = ", ".join(packaged.template_sets())
        raise InputError(f"template set {template}: there is none of that name", hint=f"there are: {known}")
    return {f"{layout.templates(template)}/{name}": data for name, data in found.items()}


def releases_of(application: str) -> list[str]:
    """What CI's signer must be allowed to write for an application."""
    folder = f"environments/*/{application}"
    return [f"{folder}/release.yaml", f"{folder}/evidence/*.json"]


def schema_files() -> dict[str, str]:
    """The schemas that the repository's files name, for editors."""
    from interlock.cli import file_schemas

    return file_schemas.files(file_schemas.ENVIRONMENT_REPOSITORY)


def application_files(
    application: str, environment: str, *, port: int, health: str, template: str, has: Collection[str]
) -> dict[str, str]:
    """An application's own files: its template, its values, and its values for one environment.

    `has`: the paths of the repository's other files.
    """
    values = path if (path := layout.values_schema(template)) in has else ""
    return {
        **_file(layout.application(application), "application.yaml", {"format": 1, "template": template}),
        **_file(
            layout.shared_values(application), "shared-values.yaml", {"port": port, "health": health}, schema=values
        ),
        **_file(layout.values(environment, application), "values.yaml", {"replicas": 1}, schema=values),
    }


def _trust(answers: Answers) -> dict[str, str]:
    person = {"name": answers.signer, "key": answers.public, "writes": ["**"], "approves": True}
    machine = {
        "name": answers.ci_signer,
        "key": answers.ci_public,
        "writes": releases_of(answers.application),
        "machine": True,
    }
    binding = {
        "source": answers.source,
        "component": answers.component,
        "application": answers.application,
        "environments": [answers.environment],
        "image": answers.image,
        "signer": answers.ci_signer,
    }
    rules = {"vulnerabilities": ["CRITICAL", "HIGH"], "unfixed": False, "misconfigurations": ["CRITICAL", "HIGH"]}
    return {
        **_file(layout.SIGNERS, "signers.yaml", {"format": 1, "signers": [person, machine]}),
        **_file(layout.BINDINGS, "bindings.yaml", {"format": 1, "bindings": [binding]}),
        **_file(layout.GATE, "gate.yaml", {"format": 1, "rules": rules}),
        **_file(layout.WAIVERS, "waivers.yaml", {"format": 1, "waivers": []}),
    }


def _state(answers: Answers, templates: Collection[str]) -> dict[str, str]:
    where = {"cluster": answers.cluster, "namespaces": [answers.namespace], "drift": "undo"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": answers.namespace}}
    return {
        **_file(layout.ENVIRONMENTS, "environments.yaml", {"format": 1, "id": secrets.token_hex(6)}),
        **_file(
            layout.environment(answers.environment),
            "environment.yaml",
            {"format": 1, "id": secrets.token_hex(6), **where},
        ),
        **_file(f"{layout.manifests(answers.environment, 'platform')}/namespace.yaml", "namespace.yaml", namespace),
        **application_files(
            answers.application,
            answers.environment,
            port=answers.port,
            health=answers.health,
            template=answers.template,
            has=templates,
        ),
    }


def _file(path: str, scaffold: str, value: object, *, schema: str = "") -> dict[str, str]:
    """A scaffold's comment, and the value below it: no answer is ever pasted into YAML. Editors find its schema."""
    from interlock.cli import file_schemas, packaged
    from interlock.contract import strict_yaml

    form = file_schemas.form_of(path)
    schema = f"{file_schemas.FOLDER}/{form.file_name}" if form else schema
    line = file_schemas.line(path, schema) if schema else ""
    return {path: line + packaged.scaffold("environment", scaffold) + strict_yaml.dump(value)}


def _check(files: dict[str, bytes]) -> None:
    """What both halves will check: a wrong answer is told before anything is written."""
    from interlock.contract import repository
    from interlock.contract.tree import Tree

    repository.read(Tree.of(files))


def _commit(folder: Path, paths: list[str], mine: SigningKey, answers: Answers) -> str:
    from interlock.cli import first_commit

    author = first_commit.author_of(folder, name=answers.signer)
    message = f"Begin with {answers.application} in {answers.environment}"
    return first_commit.create(folder, paths, message=message, key=mine, author=author)


def _finish(folder: Path, answers: Answers, *, root: str, form: Format) -> None:
    if form is Format.JSON:
        output.show_json({"folder": str(folder), "root": {"commit": root, "keys": [answers.public]}})
        return
    typer.echo(f"made {folder} with one signed commit")
    typer.echo("root pin, for both hosts:")
    typer.echo(f"  commit  {root}")
    typer.echo(f"  key     {answers.public}")
    where = shlex.quote(str(folder))
    output.note("next: push it, then tell both hosts (interlock register --help):")
    output.note(f"  git -C {where} remote add origin URL && git -C {where} push -u origin main")


def _login() -> str:
    return re.sub(r"[^a-z0-9]+", "-", getpass.getuser().lower()).strip("-") or "owner"
