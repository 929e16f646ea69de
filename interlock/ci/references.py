"""What a Dockerfile takes from elsewhere: every image, frontend and address, with its line, and how they are pinned.

Builders differ in how they read escapes, continued lines, quotes and heredocs. Where two could read something else,
this refuses the line: what is found here is all that any of them fetches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from interlock.ci.dockerfile import is_plain, refused_add
from interlock.contract import layout
from interlock.contract.build_sources import Kind, is_allowed, matches
from interlock.contract.models import BuildRules, Service
from interlock.errors import FormatError, InputError


@dataclass(frozen=True)
class Reference:
    """Something from elsewhere. `name` has its arguments filled in; `digest` is what an address must have."""

    kind: Kind
    name: str
    line: int
    column: int
    written: str
    digest: str = ""
    is_base: bool = False
    """A stage begins with it, so its ONBUILD instructions run too."""


@dataclass(frozen=True)
class Stage:
    """A stage, by its name in small letters or its number, and what its FROM names."""

    name: str
    base: Reference
    is_image: bool


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile that was read."""

    path: str
    text: str
    references: tuple[Reference, ...]
    stages: tuple[Stage, ...]
    heredoc: int | None = None
    """The line of the first one, which only BuildKit knows."""

    def of(self, kind: Kind) -> tuple[Reference, ...]:
        """One for each name, the first."""
        found: dict[str, Reference] = {}
        for each in self.references:
            if each.kind == kind:
                known = found.setdefault(each.name, each)
                found[each.name] = replace(known, is_base=known.is_base or each.is_base)
        return tuple(found.values())

    def without_frontend(self) -> Recipe:
        """As a builder reads it that runs none: to it, the line is a comment."""
        return replace(self, references=tuple(each for each in self.references if each.kind != "frontend"))

    def stage(self, name: str) -> Stage:
        """FormatError when there is none."""
        found = next((each for each in self.stages if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in self.stages)
            raise FormatError(f"the Dockerfile has no stage {name}", path=self.path, hint=f"its stages: {known}")
        return found

    def standing_on(self, shipped: str, *, stage: str) -> Reference:
        """The FROM of a stage that stands on the one that ships; FormatError when it does not."""
        self.stage(shipped)
        base = self.stage(stage).base
        if base.name.lower() != shipped:
            raise FormatError(
                f"the stage {stage} stands on {base.name}, not on {shipped}, which ships",
                path=self.path,
                line=base.line,
                hint=f"begin it with FROM {shipped} AS {stage}",
            )
        return base

    def pinned(self, names: Mapping[str, str], *, instead: Mapping[Reference, str] | None = None) -> str:
        """The text, in which every image and frontend has the name that is given for it, and these others too."""
        lines = self.text.split("\n")
        pins = {each: names[each.name] for each in self.references if each.kind != "address"} | dict(instead or {})
        for each, name in sorted(pins.items(), key=lambda pin: (pin[0].line, pin[0].column), reverse=True):
            line, end = lines[each.line - 1], each.column + len(each.written)
            lines[each.line - 1] = line[: each.column] + name + line[end:]
        return "\n".join(lines)


def read_references(text: str, *, path: str, arguments: Mapping[str, str] | None = None) -> Recipe:
    """FormatError with the line of what cannot be told for sure. `arguments` are the build's own."""
    text = text.removeprefix("\ufeff")
    reader = _Reader(path, dict(arguments or {}))
    for instruction in _instructions(text, path):
        reader.read(instruction)
    if not reader.stages:
        raise FormatError("the Dockerfile has no FROM", path=path)
    references = (*_frontend(text, path), *reader.found)
    return Recipe(path, text, references, tuple(reader.begun), reader.heredoc)


# policy ----------------------------------------------------------------------------------------------


def require_allowed(recipe: Recipe, rules: Sequence[BuildRules]) -> None:
    """FormatError when no environment could take an image that stands on this."""
    for each in recipe.references:
        if not any(is_allowed(each.kind, each.name, one) for one in rules):
            raise FormatError(
                f"the {each.kind} {each.name} is not among those that policy lets a build take from elsewhere",
                path=recipe.path,
                line=each.line,
                hint=f"use an allowed one, or have it added to `build.{_LISTS[each.kind]}` in policy/gate.yaml",
            )


_LISTS: Mapping[Kind, str] = {"image": "images", "frontend": "frontends", "address": "addresses"}


def require_arguments(names: Sequence[str], rules: Sequence[BuildRules]) -> None:
    """InputError when no environment lets an interlock.yaml set one of these."""
    for name in names:
        if not any(each.arguments is None or matches(name, each.arguments) for each in rules):
            raise InputError(
                f"policy does not let {layout.APPLICATION_REPOSITORY} set the build's argument {name}",
                hint="leave it out, or have it added to `build.arguments` in policy/gate.yaml",
            )


def require_services(services: Mapping[str, Service], rules: Sequence[BuildRules]) -> None:
    """InputError when no environment lets tests have the image of a service."""
    for name, service in services.items():
        if not any(is_allowed("image", service.image, one) for one in rules):
            raise InputError(
                f"{layout.APPLICATION_REPOSITORY}: policy does not let the service {name} have {service.image}",
                hint="use an allowed image, or have it added to `build.images` in policy/gate.yaml",
            )


def require_quiet(triggers: Sequence[str], *, name: str, path: str, line: int) -> None:
    """An image's ONBUILD instructions run in the build too: FormatError when they would fetch something."""
    for trigger in triggers:
        try:
            reader = _Reader(path, {})
            for instruction in _instructions(trigger, path):
                reader.read(instruction)
            fetched = bool(reader.found or reader.stages)
        except FormatError:
            fetched = True
        if fetched:
            raise FormatError(
                f"{name} has the instruction ONBUILD {trigger[:100]}, which takes something from elsewhere",
                path=path,
                line=line,
                hint="stand on an image without it",
            )


# instructions ----------------------------------------------------------------------------------------

_ODD = re.compile(r"[^\S \t]|[\x00-\x08\x0e-\x1f\x7f\ufeff]")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(.*?)\s*", re.IGNORECASE)
_SYNTAX = re.compile(r"(#\s*syntax\s*=\s*)(\S*)\s*", re.IGNORECASE)
_HEREDOC_WORD = re.compile(r"\d*<<")
_HEREDOC = re.compile(r"\d*<<(-?)([\"']?)([A-Za-z0-9_]+)\2")
_BODIES = ("RUN", "COPY", "ADD")
_INSTRUCTIONS = re.compile(
    r"ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME"
    r"|WORKDIR",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Word:
    text: str
    line: int
    column: int
    whole: bool
    """Stands on one line of the file."""


@dataclass(frozen=True)
class _Instruction:
    """One instruction, with its continued lines joined."""

    line: int
    text: str
    pieces: tuple[tuple[int, int, int], ...]
    """Where in `text` each line begins, which line it is, and at which column."""
    escape: str
    heredocs: bool = False

    @property
    def words(self) -> list[_Word]:
        return [self._word(found) for found in re.finditer(r"[^ \t]+", self.text)]

    def _word(self, found: re.Match[str]) -> _Word:
        start, line, column = next(each for each in reversed(self.pieces) if each[0] <= found.start())
        whole = not any(found.start() < begin < found.end() for begin, _, _ in self.pieces)
        return _Word(found[0], line, column + found.start() - start, whole)


def _instructions(text: str, path: str) -> Iterator[_Instruction]:
    lines = [line.rstrip("\r") for line in text.split("\n")]
    _require_known_form(lines, path)
    escape, at = _escape(lines, path), 0
    while at < len(lines):
        if _passed_over(lines[at]):
            at += 1
            continue
        instruction, at = _joined(lines, at, escape, path)
        ends = list(_heredocs(instruction, path))
        for end in ends:
            at = end.after(lines, at)
        yield replace(instruction, heredocs=bool(ends))


def _require_known_form(lines: list[str], path: str) -> None:
    """BuildKit finds a frontend's name in other forms too."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith(("//", "{", "#!")):
        raise FormatError("begins in a form that is no Dockerfile's", path=path, line=1, hint="begin with FROM or ARG")


def _passed_over(line: str) -> bool:
    return not line.strip(" \t") or line.lstrip(" \t").startswith("#")


def _escape(lines: list[str], path: str) -> str:
    """Builders differ in which lines may set it, so only the first may."""
    for number, line in enumerate(lines, 1):
        if not _passed_over(line):
            break
        found = _ESCAPE.fullmatch(line.strip())
        if found and (number > 1 or found[1] not in ("\\", "`")):
            raise _unsure("the escape directive must stand in the first line, as # escape=`", path, number)
        if found:
            return found[1]
    return "\\"


def _joined(lines: list[str], at: int, escape: str, path: str) -> tuple[_Instruction, int]:
    """The instruction that begins here, and the line after it."""
    begin, text, pieces, goes_on = at, "", [], True
    while goes_on and at < len(lines):
        line = lines[at]
        if at == begin or not _passed_over(line):
            if odd := _ODD.search(line):
                raise _unsure(f"has the character {odd[0]!r}, which builders read differently", path, at + 1)
            column = len(line) - len(line.lstrip(" \t")) if at == begin else 0
            piece, goes_on = _without_mark(line[column:], escape, path, at + 1)
            pieces.append((len(text), at + 1, column))
            text += piece
        at += 1
    return _Instruction(begin + 1, text, tuple(pieces), escape), at


def _without_mark(line: str, escape: str, path: str, number: int) -> tuple[str, bool]:
    stripped = line.rstrip(" \t")
    if not stripped.endswith(escape):
        return line, False
    if stripped.endswith(escape * 2):
        raise _unsure(f"ends with {escape * 2}, which only some builders continue", path, number)
    return stripped[:-1], True


@dataclass(frozen=True)
class _HeredocEnd:
    """The word on a line of its own, before which tabs may stand, that ends a heredoc."""

    name: str
    tabs: bool
    path: str
    begun: int

    def after(self, lines: list[str], at: int) -> int:
        for number in range(at, len(lines)):
            if (lines[number].lstrip("\t") if self.tabs else lines[number]) == self.name:
                return number + 1
        raise FormatError(f"the heredoc {self.name} has no end", path=self.path, line=self.begun)


def _heredocs(instruction: _Instruction, path: str) -> Iterator[_HeredocEnd]:
    words = [word.text for word in instruction.words]
    if words and words[0].upper() == "ONBUILD":
        words = words[1:]
    if "<<" not in instruction.text or not words or words[0].upper() not in _BODIES:
        return
    if not any(map(_HEREDOC_WORD.match, words)) and "${" not in instruction.text:
        return  # such as $((1<<2)): no word of it begins a heredoc
    for number, word in enumerate(words):
        if "<<" in word:
            found, before = _HEREDOC.fullmatch(word), " ".join(words[:number])
            if found is None or re.search(r"[\"'`\\$]", _HEREDOC.sub("", before)):
                raise _unsure("has << where builders may differ over whether it is a heredoc", path, instruction.line)
            if _INSTRUCTIONS.fullmatch(found[3]):
                # A builder that knows no heredocs stops at the word that ends one, unless that is an instruction.
                raise _unsure(f"has a heredoc called {found[3]}, as an instruction", path, instruction.line)
            yield _HeredocEnd(found[3], bool(found[1]), path, instruction.line)


def _frontend(text: str, path: str) -> Iterator[Reference]:
    """A frontend decides what is built; it can stand in the comments at the file's head."""
    for number, line in enumerate(text.split("\n"), 1):
        if not _passed_over(line.rstrip("\r")):
            return
        indent = len(line) - len(line.lstrip())
        if found := _SYNTAX.fullmatch(line[indent:]):
            if not _IMAGE.fullmatch(found[2]):
                raise _unsure(f"names the frontend {found[2][:100]!r}, which is no image", path, number)
            yield Reference("frontend", found[2], number, indent + len(found[1]), found[2])


def _unsure(problem: str, path: str, line: int) -> FormatError:
    return FormatError(problem, path=path, line=line, hint="write it plainly, so that every builder reads the same")


# what they name --------------------------------------------------------------------------------------

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_STAGE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::([-+])([A-Za-z0-9._/:@-]*))?\}|(\w+))", re.ASCII)
_ARGUMENT = re.compile(r"(\w+)=(?:([\"']?)([A-Za-z0-9._/:@+-]*)\2)", re.ASCII)
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~/:%?&=+@-]+")
_QUOTES = re.compile(r"[\"'`\\]")


@dataclass
class _Reader:
    path: str
    arguments: Mapping[str, str]
    known: dict[str, str] = field(default_factory=dict)
    """What the arguments before the first FROM are."""
    stages: list[str] = field(default_factory=list)
    begun: list[Stage] = field(default_factory=list)
    found: list[Reference] = field(default_factory=list)
    heredoc: int | None = None

    def read(self, instruction: _Instruction) -> None:
        if instruction.heredocs and self.heredoc is None:
            self.heredoc = instruction.line
        match instruction.words:
            case [word, *words] if word.text.upper() == "FROM":
                self._from(instruction, words)
            case [word, *words] if word.text.upper() == "ARG" and not self.stages:
                self._argument(words)
            case [word, *words] if word.text.upper() in ("COPY", "RUN"):
                self._taken(instruction, words)
            case [word, *words] if word.text.upper() == "ADD":
                self._add(instruction, words)
            case [word, *_] if word.text.upper() == "ONBUILD":
                self._on_build(instruction, word)

    def _argument(self, words: list[_Word]) -> None:
        for word in words:
            name = word.text.partition("=")[0]
            self.known.pop(name, None)
            if name in self.arguments:
                self.known[name] = self.arguments[name]
            elif found := _ARGUMENT.fullmatch(word.text):
                self.known[name] = found[3]

    def _from(self, instruction: _Instruction, words: list[_Word]) -> None:
        while words and words[0].text.startswith("--"):
            if not words[0].text.startswith("--platform="):
                raise self._unsure(f"FROM has the option {words[0].text[:60]}", instruction)
            words = words[1:]
        match [word.text for word in words]:
            case [_]:
                stage = str(len(self.stages))
            case [_, "AS" | "as" | "As" | "aS", name] if _STAGE.fullmatch(name):
                stage = name.lower()
            case _:
                raise self._unsure("FROM must be written as FROM image, or FROM image AS stage", instruction)
        name = self._filled(words[0].text, instruction)
        is_image = name.lower() not in (*self.stages, "scratch")
        base = self._reference("image", name, words[0], instruction, is_base=True)
        self.found += [base] if is_image else []
        if any(each.name.lower() == stage for each in self.found if not each.is_base):
            raise self._unsure(f"the stage {stage} is named before it begins, where it could be an image", instruction)
        if stage in self.stages:
            raise self._unsure(f"a second stage is called {stage}", instruction)
        self.stages.append(stage)
        self.begun.append(Stage(stage, base, is_image))

    def _filled(self, text: str, instruction: _Instruction) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1] or found[4]
            known = self.known.get(name, "")
            if found[2] == "-":
                return known or str(found[3])
            if found[2] == "+":
                return str(found[3]) if known else ""
            if not known:
                raise FormatError(
                    f"{text[:100]} cannot be resolved: ARG {name} has no plain value before the first FROM",
                    path=self.path,
                    line=instruction.line,
                    hint="give it a default, or a value under `arguments` in interlock.yaml",
                )
            return known

        return _VARIABLE.sub(value, text)

    def _taken(self, instruction: _Instruction, words: list[_Word]) -> None:
        """COPY --from and RUN --mount=from."""
        for word in self._options(instruction, words):
            option, _, value = word.text.removeprefix("--").partition("=")
            if option.lower() == "from":
                self._from_stage(value, len("--from="), word, instruction)
            elif option.lower() == "mount":
                at = len("--mount=")
                for part in value.split(","):
                    key, _, named = part.partition("=")
                    if key.lower() == "from":
                        self._from_stage(named, at + len("from="), word, instruction)
                    at += len(part) + 1

    def _options(self, instruction: _Instruction, words: list[_Word]) -> Iterator[_Word]:
        for word in words:
            if not word.text.startswith("--"):
                return
            if _QUOTES.search(word.text):
                raise self._unsure(f"the option {word.text[:60]} has quotes or escapes", instruction)
            yield word

    def _from_stage(self, value: str, offset: int, word: _Word, instruction: _Instruction) -> None:
        if value.lower() in self.stages or value.lower() == "scratch":
            return
        if value.isdigit():
            if int(value) >= len(self.stages):
                raise self._unsure(f"there is no stage {value} yet", instruction)
            return
        part = replace(word, text=value, column=word.column + offset)
        self.found.append(self._reference("image", value, part, instruction))

    def _reference(
        self, kind: Kind, name: str, word: _Word, instruction: _Instruction, *, is_base: bool = False
    ) -> Reference:
        if not word.whole:
            raise self._unsure(f"the name {name[:100]} is spread over several lines", instruction)
        if not _IMAGE.fullmatch(name):
            raise self._unsure(f"{name[:100]!r} is not the plain name of an image", instruction)
        return Reference(kind, name, word.line, word.column, word.text, is_base=is_base)

    def _add(self, instruction: _Instruction, words: list[_Word]) -> None:
        """Of the context, or of an address with the checksum of what is there."""
        if is_plain(" ".join(word.text for word in words)) or self.heredoc_only(instruction, words):
            return
        options = list(self._options(instruction, words))
        sums = [word.text.partition("=")[2] for word in options if word.text.startswith("--checksum=")]
        rest = words[len(options) :]
        if len(rest) != 2 or not _ADDRESS.fullmatch(rest[0].text) or not is_plain(rest[1].text):
            raise refused_add(self.path, instruction.line)
        if len(sums) != 1 or not _CHECKSUM.fullmatch(sums[0]):
            raise refused_add(self.path, instruction.line)
        address = rest[0]
        self.found.append(
            Reference("address", address.text, address.line, address.column, address.text, digest=sums[0])
        )

    @staticmethod
    def heredoc_only(instruction: _Instruction, words: list[_Word]) -> bool:
        """Whether all that is added stands in the file itself."""
        return instruction.heredocs and is_plain(" ".join(each.text for each in words if "<<" not in each.text))

    def _on_build(self, instruction: _Instruction, word: _Word) -> None:
        rest = instruction.text[instruction.text.index(word.text) + len(word.text) :]
        inner = _Reader(self.path, {}, stages=["0"])
        begin = instruction.pieces[0]
        inner.read(replace(instruction, text=rest, pieces=((0, begin[1], begin[2]),)))
        if inner.found or len(inner.stages) > 1:
            raise self._unsure("ONBUILD takes something from elsewhere", instruction)

    def _unsure(self, problem: str, instruction: _Instruction) -> FormatError:
        return _unsure(problem, self.path, instruction.line)
