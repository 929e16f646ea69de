"""`interlock bind`: one more component, application or environment in an environment repository that is there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import application as files
from interlock.cli import environment as scaffolds
from interlock.cli import names, output
from interlock.cli.application import Yes
from interlock.cli.output import Format, Output
from interlock.contract import layout
from interlock.errors import InputError

if TYPE_CHECKING:
    from interlock.contract.models import Model
    from interlock.contract.repository import Repository
    from interlock.contract.tree import Tree

EXAMPLES = """\b
Examples:
  interlock bind environments --application hello --image 127.0.0.1:5000/hello/web
  interlock bind --application shop --component worker --image registry.example.org/shop/worker
  git -C environments add -A && git -C environments commit -m "Let hello into dev" && git -C environments push
"""


@dataclass(frozen=True)
class Wish:
    """What `bind` was asked for."""

    application: str
    component: str
    source: str
    environment: str
    image: str
    port: int
    health: str
    template: str
    signer: str | None


def bind(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A clone of the environment repository.", file_okay=False)
    ] = Path(),
    *,
    application: Annotated[str, typer.Option(help="The application, new or there.", callback=names.name)],
    image: Annotated[
        str, typer.Option(help="Where CI pushes the image: HOST/PATH without a tag.", callback=names.image_repository)
    ],
    component: Annotated[
        str, typer.Option(help="The component's name in interlock.yaml.", callback=names.name)
    ] = "web",
    source: Annotated[
        str | None,
        typer.Option(
            help="The source repository's name on the CI host.",
            show_default="the application",
            callback=names.repository,
        ),
    ] = None,
    environment: Annotated[str, typer.Option(help="The environment, which is there.", callback=names.name)] = "dev",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port that the container listens on.")] = 8080,
    health: Annotated[
        str, typer.Option(help="The path that answers 200 when the service is well.", callback=names.url_path)
    ] = "/health",
    template: Annotated[
        str, typer.Option(help="The template set; copied when it is not there.", callback=names.name)
    ] = "service",
    signer: Annotated[
        str | None,
        typer.Option(
            "--ci-signer", help="CI's name as a signer.", show_default="the only machine", callback=names.name
        ),
    ] = None,
    yes: Yes = False,
    form: Output = Format.TABLE,
) -> None:
    """Let a component of a source repository be released to an environment.

    Changes files of the clone: the binding, CI's right to write its releases, and values for a new application.
    Nothing is committed: look at it, then commit and push, which signs it.
    """
    from interlock.cli import clone
    from interlock.contract import repository
    from interlock.contract.tree import Tree

    before = clone.read(folder, None, named="DIR")
    wish = Wish(
        *(application, component, source or application, environment, image, port, health, template, signer),
    )
    changes = changed(repository.read(before), wish)
    repository.read(Tree.of({**before.files, **{path: text.encode() for path, text in changes.items()}}))
    files.write(folder, changes, yes=yes, force=True)
    _finish(folder, wish, changes, form)


def changed(repository: Repository, wish: Wish) -> dict[str, str]:
    """The files to write, by path: only what differs."""
    if wish.environment not in repository.environments:
        known = ", ".join(repository.environments)
        raise InputError(f"environment {wish.environment}: there is none of that name", hint=f"there are: {known}")
    signer = _signer(repository, wish.signer)
    wanted = {
        layout.BINDINGS: rewritten(repository.tree, layout.BINDINGS, {"bindings": _bindings(repository, wish, signer)}),
        layout.SIGNERS: rewritten(repository.tree, layout.SIGNERS, {"signers": _signers(repository, wish, signer)}),
        **_new(repository.tree, wish),
    }
    return {path: text for path, text in wanted.items() if repository.tree.files.get(path) != text.encode()}


def _signer(repository: Repository, asked: str | None) -> str:
    machines = [each.name for each in repository.signers if each.machine and not each.forge]
    if asked is None and len(machines) != 1:
        raise InputError(
            f"{layout.SIGNERS}: {len(machines)} machines sign here", hint=f"choose with --ci-signer: {machines}"
        )
    if asked is not None and asked not in machines:
        raise InputError(f"{layout.SIGNERS}: no machine is named {asked}", hint=f"there are: {', '.join(machines)}")
    return asked or machines[0]


def _bindings(repository: Repository, wish: Wish, signer: str) -> list[dict[str, Any]]:
    """Those that are there, and the wished one; one that only lacks the environment gets it."""
    found = [plain(each) for each in repository.bindings]
    new = {
        "source": wish.source,
        "component": wish.component,
        "application": wish.application,
        "environments": [wish.environment],
        "image": wish.image,
        "signer": signer,
    }
    for each in found:
        if {**each, "environments": []} == {**new, "environments": []}:
            each["environments"] = sorted({*each["environments"], wish.environment})
            return found
    return [*found, new]


def _signers(repository: Repository, wish: Wish, signer: str) -> list[dict[str, Any]]:
    found = [plain(each) for each in repository.signers]
    for each in found:
        if each["name"] == signer:
            each["writes"] = list(dict.fromkeys([*each["writes"], *scaffolds.releases_of(wish.application)]))
    return found


def _new(tree: Tree, wish: Wish) -> dict[str, str]:
    """An application's own files, its templates, and the schemas for editors, where they are not there yet."""
    from interlock.cli import file_schemas

    texts: dict[str, str] = {}
    if not tree.under(layout.templates(wish.template)):
        texts |= {path: data.decode() for path, data in scaffolds.template_files(wish.template).items()}
    texts |= scaffolds.application_files(
        wish.application,
        wish.environment,
        port=wish.port,
        health=wish.health,
        template=wish.template,
        has={*tree.files, *texts},
    )
    if not tree.under(file_schemas.FOLDER):
        texts |= scaffolds.schema_files()
    return {path: text for path, text in texts.items() if path not in tree.files}


def plain(model: Model) -> dict[str, Any]:
    value: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
    return value


def rewritten(tree: Tree, path: str, value: dict[str, Any]) -> str:
    """The file with other values below the comment at its top; what is not named stays."""
    from interlock.contract import strict_yaml

    text = tree.text(path)
    before: Any = strict_yaml.load(text, path=path).value
    value = {**before, **value}
    if value == before:
        return text
    lines = text.splitlines(keepends=True)
    body = next((index for index, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    if any("#" in line for line in lines[body:]):
        output.note(f"note: {path} is written anew; comments below its first lines go, git diff shows them")
    return "".join(lines[:body]) + strict_yaml.dump(value)


def _finish(folder: Path, wish: Wish, changes: dict[str, str], form: Format) -> None:
    if form is Format.JSON:
        output.show_json({"written": sorted(changes)})
        return
    for path in changes:
        typer.echo(f"wrote {folder / path}")
    if not changes:
        typer.echo(f"{wish.component} of {wish.application} is bound to {wish.environment} already")
        return
    git = "git" if folder == Path() else f"git -C {shlex.quote(str(folder))}"
    output.note("next: commit and push it, which signs it, and let the CI host build the repository:")
    output.note(f'  {git} add -A && {git} commit -m "Bind {wish.application}" && {git} push')
    output.note(f"  interlock register application {wish.source} --url URL")
