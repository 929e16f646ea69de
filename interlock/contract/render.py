"""Rendering an environment: values and releases in, manifests out. Same input, same bytes.

`tasks.common.render` runs `render_inputs` in a child process; pydantic stays out of it, for its start-up time.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interlock.contract import layout, placeholder
from interlock.contract.manifest import Identity, Manifest, manifest, refuse_doubles
from interlock.contract.template import LateOrigins, Made, Origin, TemplateSet, read_plain, rows_of
from interlock.contract.unread import Reading, Unread

if TYPE_CHECKING:
    from interlock.contract.repository import Application, Repository
    from interlock.contract.sops import SealedFile

__all__ = ["Identity", "Manifest", "Origin", "Rendered", "checked", "inputs", "render", "render_inputs"]

_SUFFIX = ".yaml.j2"
MOST_TOGETHER = 250
"""Applications that are rendered in one process, whose limits they share."""


@dataclass(frozen=True)
class Rendered:
    environment: str
    manifests: tuple[Manifest, ...]
    awaiting: tuple[str, ...]
    """The applications that render nothing, as a component of theirs is not released yet."""
    unread: tuple[Unread, ...] = ()
    """Values that no template reads, of the applications that were rendered now and not taken from what is kept."""

    def to_json(self) -> dict[str, Any]:
        manifests = [
            {
                "body": each.body,
                "application": each.application,
                "origins": rows_of(each.origins),
            }
            for each in self.manifests
        ]
        unread = [dataclasses.astuple(each) for each in self.unread]
        known = {"environment": self.environment, "awaiting": list(self.awaiting), "unread": unread}
        return {**known, "manifests": manifests}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rendered:
        manifests = tuple(
            Manifest(
                each["body"],
                each["application"],
                LateOrigins(each["origins"]),
            )
            for each in value["manifests"]
        )
        unread = tuple(Unread(name, tuple(path), meant) for name, path, meant in value.get("unread", ()))
        return cls(value["environment"], manifests, tuple(value["awaiting"]), unread)


@dataclass(frozen=True)
class ApplicationInputs:
    name: str
    values: Mapping[str, Any]
    components: Mapping[str, Any]
    """By name: `image`, `source` (repository, commit), `version`."""
    folder: str
    """Of its template set; empty when it has none."""
    manifests: Mapping[str, str]
    """Text by path."""
    values_texts: Mapping[str, str] = field(default_factory=dict)
    """By path, of the files that give the values, the environment's first; only where the set has a schema."""
    secrets: Mapping[str, Any] = field(default_factory=dict)
    """The application's sealed values, each as the text of its placeholder."""


@dataclass(frozen=True)
class Inputs:
    """All that rendering reads, as JSON values."""

    environment: str
    id: str
    namespaces: tuple[str, ...]
    applications: tuple[ApplicationInputs, ...]
    templates: Mapping[str, Mapping[str, str]]
    """Text by folder of the set and name within it."""
    awaiting: tuple[str, ...]
    cluster_kinds: tuple[str, ...] = ()
    values_schemas: Mapping[str, str] = field(default_factory=dict)
    """The text of a set's values.schema.json, by folder of the set; not every set has one."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Inputs:
        applications = tuple(ApplicationInputs(**each) for each in value["applications"])
        plain = {name: tuple(value[name]) for name in ("namespaces", "awaiting", "cluster_kinds")}
        return cls(**{**value, **plain, "applications": applications})


def render(repository: Repository, environment: str, *, placeholder: str | None = None) -> Rendered:
    """The environment's manifests, by application, then file, then order in the file.

    With a `placeholder` (an image repository's prefix such as `placeholder.invalid`), components that are not
    released yet are rendered too, with the image `<placeholder>/<component>@sha256:000…`.
    """
    return render_inputs(inputs(repository, environment, placeholder=placeholder))


def render_inputs(given: Inputs) -> Rendered:
    """As `render`, of inputs that were gathered before."""
    if given.values_schemas:
        from interlock.contract import values

        values.check(given)
    sets = {folder: TemplateSet(files, folder=folder) for folder, files in given.templates.items()}
    readings = {application.name: Reading() for application in given.applications}
    manifests = tuple(
        _manifest(made, given, application.name, secrets=bool(application.secrets))
        for application in given.applications
        for made in _documents(given, application, sets.get(application.folder), readings[application.name])
        if made.body is not None
    )
    refuse_doubles(manifests)
    unread = (
        each
        for application in given.applications
        for each in readings[application.name].unread(
            application.name, application.values, given.templates.get(application.folder, {}).values()
        )
    )
    return Rendered(given.environment, manifests, given.awaiting, tuple(unread))


def _manifest(made: Made, given: Inputs, application: str, *, secrets: bool) -> Manifest:
    if secrets:
        placeholder.require_placed(made)
    return manifest(made, application=application, namespaces=given.namespaces, cluster_kinds=given.cluster_kinds)


def apart(given: Inputs) -> tuple[Inputs, ...]:
    """The same in parts that need not know of each other: never two template sets, nor many applications, in one.

    What is kept of one set's rendering then owes nothing to another set's templates.
    """
    parts: list[Inputs] = []
    for folder in sorted({each.folder for each in given.applications}):
        alike = [each for each in given.applications if each.folder == folder]
        parts += [only(given, alike[at : at + MOST_TOGETHER]) for at in range(0, len(alike), MOST_TOGETHER)]
    return tuple(parts)


def only(given: Inputs, applications: Sequence[ApplicationInputs]) -> Inputs:
    """The inputs of these applications."""
    folders = {each.folder for each in applications}
    templates = {folder: files for folder, files in given.templates.items() if folder in folders}
    schemas = {folder: text for folder, text in given.values_schemas.items() if folder in folders}
    return dataclasses.replace(given, applications=tuple(applications), templates=templates, values_schemas=schemas)


def whole(given: Inputs, manifests: Mapping[str, tuple[Manifest, ...]], unread: Iterable[Unread] = ()) -> Rendered:
    """The manifests of every application, by its name, as one render of the environment."""
    made = tuple(each for application in given.applications for each in manifests[application.name])
    refuse_doubles(made)
    return Rendered(given.environment, made, given.awaiting, tuple(unread))


def checked(rendered: Rendered, given: Inputs) -> Rendered:
    """The same, after all checks once more: for what another process says that it rendered."""
    sealed = {each.name for each in given.applications if each.secrets}
    manifests = tuple(
        _manifest(Made(each.body, each.origins), given, each.application, secrets=each.application in sealed)
        for each in rendered.manifests
    )
    refuse_doubles(manifests)
    return Rendered(given.environment, manifests, given.awaiting, rendered.unread)


def _documents(
    given: Inputs, application: ApplicationInputs, templates: TemplateSet | None, reading: Reading
) -> Iterator[Made]:
    context = {
        "environment": {"name": given.environment, "id": given.id},
        "application": {"name": application.name},
        "namespace": given.namespaces[0],
        "values": reading.watched(application.values),
        "components": application.components,
        "secrets": placeholder.placeholders(application.secrets),
    }
    for name in sorted(given.templates.get(application.folder, ())):
        if templates and name.endswith(_SUFFIX) and not name.rpartition("/")[2].startswith("_"):
            yield from templates.render(name, context)
    for path in sorted(application.manifests):
        yield from read_plain(application.manifests[path], path=path)


# gathering -------------------------------------------------------------------------------------------


def inputs(repository: Repository, environment: str, *, placeholder: str | None = None) -> Inputs:
    """What rendering an environment reads."""
    chosen = repository.environments[environment]
    awaiting = {each.name for each in chosen.applications.values() if each.awaiting and placeholder is None}
    applications = [each for name, each in sorted(chosen.applications.items()) if name not in awaiting]
    sets = sorted({each.template for each in applications if each.template})
    return Inputs(
        environment=chosen.name,
        id=chosen.id,
        namespaces=chosen.namespaces,
        applications=tuple(_application_inputs(repository, environment, each, placeholder) for each in applications),
        templates={layout.templates(each): _template_files(repository, layout.templates(each)) for each in sets},
        awaiting=tuple(sorted(awaiting)),
        cluster_kinds=chosen.cluster_kinds,
        values_schemas={
            layout.templates(each): repository.tree.text(path)
            for each in sets
            if (path := layout.values_schema(each)) in repository.tree.files
        },
    )


def _template_files(repository: Repository, folder: str) -> dict[str, str]:
    paths = [path for path in repository.tree.under(folder) if path.endswith(".j2")]
    return {path.removeprefix(f"{folder}/"): repository.tree.text(path) for path in paths}


def _application_inputs(
    repository: Repository, environment: str, application: Application, placeholder: str | None
) -> ApplicationInputs:
    released = application.release.components if application.release else {}
    components = {
        name: component(entry.image, entry.source.repository, entry.source.commit) for name, entry in released.items()
    }
    for name in application.awaiting:
        source = next(
            each.source
            for each in repository.bindings
            if (each.application, each.component) == (application.name, name) and environment in each.environments
        )
        image, commit = unreleased(name, str(placeholder))
        components[name] = component(image, source, commit)
    return ApplicationInputs(
        name=application.name,
        values=application.values,
        components={name: components[name] for name in sorted(components)},
        folder=layout.templates(application.template) if application.template else "",
        manifests=application.manifests,
        values_texts=_values_texts(repository, environment, application),
        secrets=tokens(application.secrets),
    )


def tokens(file: SealedFile | None) -> dict[str, Any]:
    """What templates are given of a file of sealed values: its mapping, with a placeholder's text for each value."""
    return {} if file is None else {key: _token(each) for key, each in file.tree.items()}


def _token(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _token(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_token(each) for each in value]
    return value and placeholder.text(value.name, value.digest)


def stand_ins(values: Any, where: tuple[str, ...] = ()) -> Any:
    """Placeholders for values of a test, which are sealed nowhere: the same name has the same one."""
    if isinstance(values, Mapping):
        return {key: stand_ins(each, (*where, key)) for key, each in values.items()}
    if isinstance(values, list):
        return [stand_ins(each, (*where, str(index))) for index, each in enumerate(values)]
    name = ".".join(where)
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return placeholder.text(name, digest) if values not in (None, "") else values


def _values_texts(repository: Repository, environment: str, application: Application) -> dict[str, str]:
    """Only where somebody will ask for lines in them."""
    if application.template is None or layout.values_schema(application.template) not in repository.tree.files:
        return {}
    paths = (layout.values(environment, application.name), layout.shared_values(application.name))
    return {path: repository.tree.text(path) for path in paths if path in repository.tree.files}


def component(image: str, repository: str, commit: str) -> dict[str, Any]:
    """A released component as templates see it."""
    return {"image": image, "source": {"repository": repository, "commit": commit}, "version": version(commit)}


def version(commit: str) -> str:
    """A source commit as it stands in a component's `version`."""
    return commit[:12]


def unreleased(name: str, placeholder: str) -> tuple[str, str]:
    """The image and commit that stand for a component which is not released yet."""
    return f"{placeholder}/{name}@sha256:{'0' * 64}", "0" * 40
