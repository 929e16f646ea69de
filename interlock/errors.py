"""Every expected failure, in one tree. A message names its subject; `hint` says what to do about it.

InterlockError                 exit code 4 unless said otherwise
├── InputError            2    a file, value or parameter of ours is wrong: path, line, what to do
│   ├── FormatError            YAML, a model or a template file, with path and line
│   ├── Unbound                no binding gives the repository anywhere to go: for a run no failure
│   ├── RenderError            a template asked for what is not there, or made what may not be
│   └── ParameterError         a flow's or command's parameter
├── HostConfigError       2    the host's own file (ci.yaml, cd.yaml) is missing or wrong
├── Refused               3    verification said no; `rule` names which rule
│   └── Untrusted              what passed before is not believed any more: nothing is written at all
│       └── LedgerCut              the ledger lost receipts: it takes no more either
├── Blocked               1    the gate, a budget or a plan says no, with reasons
│   └── PlanMoved              the plan is not the one any more that was looked at
├── ClockWrong            4    the host's clock went back, or differs from others': nothing is decided
├── Superseded            0    a newer commit made this run pointless; nothing to do
│   └── UnderWay          0    another run is at the same; left to it
├── AwaitsApproval        6    people have to agree first; nothing is wrong
├── LockHeld              5    somebody else holds the environment's lock
│   └── Overtaken              another run has moved the environment on since it was read
├── Unhealthy             1    applied, but not healthy in time
├── CredentialFound       3    CI can read a usable cluster credential
└── ToolError             4    an outside part failed; retryable ones are TransientError
    ├── GitError
    │   └── PushRejected       the remote moved: fetch, decide again, push again
    ├── DockerError
    ├── RegistryError
    ├── ForgeError             GitHub's, GitLab's or Gitea's answer, with its status
    ├── ScanFailed             not scanned: neither clean nor dirty
    ├── TestsFailed       1    the tests ran and failed, or ran zero cases
    ├── ClusterError           the API server's answer, with object and status
    │   └── Conflict           another manager owns the field, or the object moved
    └── PrefectError
"""

from __future__ import annotations

from typing import Self


class InterlockError(Exception):
    """The base of every expected failure."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def with_message(self, message: str) -> Self:
        """The same failure, told in other words."""
        same = type(self).__new__(type(self), message)
        same.__dict__ |= {**self.__dict__, "message": message}
        return same


class InputError(InterlockError):
    exit_code = 2


class Unbound(InputError):
    """An application repository that may be released nowhere. Who asks for its release is told; nobody is woken."""


class FormatError(InputError):
    """Text from a file does not have the form that we ask for. Line and column count from 1.

    `problem` is the message without the place.
    """

    def __init__(
        self, message: str, *, path: str, line: int | None = None, column: int | None = None, hint: str = ""
    ) -> None:
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {message}", hint=hint)
        self.problem = message
        self.path, self.line, self.column = path, line, column


class RenderError(FormatError):
    """A template cannot be rendered, or renders what may not be."""


class ParameterError(InputError):
    pass


class HostConfigError(InterlockError):
    exit_code = 2


class Refused(InterlockError):
    """Verification said no. `rule` is a stable word for people and tests, such as `unsigned` or `rewritten`."""

    exit_code = 3

    def __init__(self, message: str, *, rule: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class Untrusted(Refused):
    """What was verified before, and may be deployed, is not believed any more. Nothing is written, not even upkeep."""


class LedgerCut(Untrusted):
    """The ledger has not what somebody beside it has seen. Nothing is added to what is left of it."""


class Blocked(InterlockError):
    """A decision of policy: the gate's verdict, a budget, a plan with blocked objects. One reason a line.

    `passing` says that a later run may come to another one though nobody changes anything: something was not scanned.
    """

    exit_code = 1

    def __init__(self, message: str, *, reasons: tuple[str, ...] = (), hint: str = "", passing: bool = False) -> None:
        super().__init__("\n".join((message, *(f"  - {reason}" for reason in reasons))), hint=hint)
        self.reasons = reasons
        self.passing = passing


class PlanMoved(Blocked):
    pass


class ClockWrong(InterlockError):
    """Nothing that asks for the time is decided, and nothing is written."""


class Superseded(InterlockError):
    exit_code = 0


class UnderWay(Superseded):
    exit_code = 0


class AwaitsApproval(InterlockError):
    exit_code = 6


class LockHeld(InterlockError):
    exit_code = 5


class Overtaken(LockHeld):
    pass


class Unhealthy(InterlockError):
    exit_code = 1


class CredentialFound(InterlockError):
    exit_code = 3


class ToolError(InterlockError):
    """An outside part failed. `transient` says whether trying again can help."""

    def __init__(self, message: str, *, hint: str = "", transient: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class GitError(ToolError):
    pass


class PushRejected(GitError):
    pass


class DockerError(ToolError):
    pass


class RegistryError(ToolError):
    pass


class ForgeError(ToolError):
    """`status` is the answer's, 0 when there was none; `after_seconds`: what it asks to be left alone for."""

    def __init__(
        self, message: str, *, status: int = 0, hint: str = "", transient: bool = False, after_seconds: float = 0
    ) -> None:
        super().__init__(message, hint=hint, transient=transient)
        self.status = status
        self.after_seconds = after_seconds


class ScanFailed(ToolError):
    pass


class TestsFailed(ToolError):
    __test__ = False  # not a test class, whatever pytest thinks of its name
    exit_code = 1


class ClusterError(ToolError):
    """The API server's answer. `status` is its HTTP status, 0 when there was none; `unseen` says that no server has
    received the request.
    """

    def __init__(
        self, message: str, *, status: int = 0, hint: str = "", transient: bool = False, unseen: bool = False
    ) -> None:
        super().__init__(message, hint=hint, transient=transient)
        self.status = status
        self.unseen = unseen


class Conflict(ClusterError):
    """`fields` are those that the server says other managers have, as it spells them; none when the object moved."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 409,
        hint: str = "",
        transient: bool = False,
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, status=status, hint=hint, transient=transient)
        self.fields = fields


class PrefectError(ToolError):
    pass
