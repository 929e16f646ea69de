"""The pre-receive hook of a plain git server: a push to the protected branch is judged by the verifier that CD uses.

In an application repository it is judged by what CI asks.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.contract import push, strict_yaml
from interlock.contract.push import HookFile
from interlock.errors import FormatError, HostConfigError, InputError, ParameterError, Refused
from tasks.common import environment_repository, git, source_repository

HOOK, SETTINGS = "pre-receive", "interlock.yaml"
_MARK = "# Written by `interlock protect hook`"
_SCRIPT = """\
#!/bin/sh
{mark}: pushes to {branch} are judged as {half} judges them, before anybody can see them.
# Nothing of the pusher's or the server's environment goes in but where git keeps the pushed objects.
exec /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 \\
  GIT_OBJECT_DIRECTORY="$GIT_OBJECT_DIRECTORY" \\
  GIT_ALTERNATE_OBJECT_DIRECTORIES="$GIT_ALTERNATE_OBJECT_DIRECTORIES" \\
  {python} -I -c 'from interlock.cli.main import run; run()' protect receive {repository}
"""


@dataclass(frozen=True)
class Installed:
    """The hook's file, what the branch has now, and by what was judged until now.

    `wrong`: why CI would not build what the branch has, which a push can mend.
    """

    hook: Path
    head: str | None
    before: HookFile | None
    wrong: str = ""

    def branch_before(self, settings: HookFile) -> str | None:
        """The branch that was judged until now, and is no more."""
        return self.before.branch if self.before and self.before.branch != settings.branch else None


def judge(repository: Path, text: str, environment: Mapping[str, str]) -> int | None:
    """How many commits a push brings to the protected branch; None when it is about others. Refused otherwise.

    `text` is the hook's stdin. Who lies about where the branch is has gained nothing: git moves it from there only.
    """
    settings = _settings(repository / "hooks" / SETTINGS)
    update = push.moved(push.updates(text), branch=settings.branch, tags=settings.application is not None)
    if update is None:
        return None
    since = None if update.old == push.NONE else update.old
    with git.borrowing(push.stores(repository, dict(environment))) as mirror:
        return _judged(mirror, settings, update.new, since=since)


def _judged(mirror: Path, settings: HookFile, head: str, *, since: str | None) -> int:
    if settings.application:
        return source_repository.judged(mirror, settings.application, head, since=since)
    assert settings.root  # noqa: S101 - a file has one of the two
    return len(environment_repository.judged(mirror, settings.root, head, since=since).new_commits)


def _settings(path: Path) -> HookFile:
    try:
        return strict_yaml.parse(path.read_text(), HookFile, path=str(path))
    except (OSError, UnicodeDecodeError, FormatError) as error:
        hint = "nothing can be pushed until an administrator has run `interlock protect hook` here again"
        raise HostConfigError(f"the hook's settings cannot be read: {error}".splitlines()[0], hint=hint) from error


def install(repository: Path, settings: HookFile) -> Installed:
    """Write the hook and its settings; what the branch of an environment repository has now has to pass."""
    repository = repository.resolve()
    if not (repository / "objects").is_dir() or not (repository / "HEAD").is_file():
        raise InputError(f"{repository} is no bare repository", hint="name the repository's folder on the git server")
    folder, hook = repository / "hooks", repository / "hooks" / HOOK
    if hook.exists() and _MARK not in hook.read_text(errors="replace"):
        raise InputError(f"{hook} is somebody else's hook", hint="let it call ours: move it away, run this, merge them")
    _require_branch(repository, settings.branch)
    head, before = git.head_of(repository, settings.branch), _before(folder / SETTINGS)
    wrong = _wrong(repository, settings, head) if head else ""
    text = f"{_MARK}: what the hook beside it trusts.\n{strict_yaml.dump(_written(settings))}"
    strict_yaml.parse(text, HookFile, path=str(folder / SETTINGS))
    script = _SCRIPT.format(
        mark=_MARK,
        branch=settings.branch,
        half="CI" if settings.application else "CD",
        python=shlex.quote(sys.executable),
        repository=shlex.quote(str(repository)),
    )
    folder.mkdir(exist_ok=True)
    _write(folder / SETTINGS, text, 0o644)
    _write(hook, script, 0o755)
    return Installed(hook, head, before, wrong)


def _written(settings: HookFile) -> object:
    return settings.model_dump(mode="json", exclude_none=True)


def _require_branch(repository: Path, branch: str) -> None:
    """A branch that is not there is a typo, unless there is none at all yet: then nothing would be judged."""
    known = git.branches_of(repository)
    if known and branch not in known:
        hint = f"it has: {', '.join(known)}; push the branch first if it is to come"
        raise ParameterError(f"{repository} has no branch {branch!r}: no hook was written", hint=hint)


def _before(path: Path) -> HookFile | None:
    """By what the hook judged up to now; None where there was none, or nobody can tell."""
    try:
        return _settings(path)
    except HostConfigError:
        return None


def _wrong(repository: Path, settings: HookFile, head: str) -> str:
    """Why the branch as it is would not pass. An environment repository's never would again: it is refused.

    It is judged from the root pin on. An application repository's history is what it is: only what is new is judged.
    """
    with git.borrowing((repository / "objects",)) as mirror:
        if not settings.application:
            _judged(mirror, settings, head, since=None)
            return ""
        try:
            source_repository.require_buildable(mirror, settings.application, head)
        except (Refused, InputError) as error:
            return error.message
        return ""


def _write(path: Path, text: str, mode: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(text)
        draft.chmod(mode)
        draft.replace(path)
    except OSError as error:
        raise HostConfigError(
            f"{path}: {error.strerror}", hint="run it as who may write the repository's hooks"
        ) from None
