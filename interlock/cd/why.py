"""Why a change is not live: one line per gate, the first that does not let it through, who can, and the next command.

Pure. The gates are in the order in which a change meets them; behind the first that holds it, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from interlock.cd.outlook import Ending
from interlock.contract import evidence
from interlock.contract.brought import Brought
from interlock.contract.evidence import Evidence
from interlock.contract.models import Signer
from interlock.contract.report import Report, Table
from interlock.contract.verification import may_write

State = Literal["passes", "holds", "unknown", "later"]
"""`unknown`: it cannot be told from here. `later`: its turn comes when the gate that holds is passed."""


@dataclass(frozen=True)
class Run:
    """The newest run of CI for a source commit: `state` as Prefect names it."""

    name: str
    state: str
    message: str = ""
    going: bool = False


@dataclass(frozen=True)
class Source:
    """A commit of an application repository, as far as somebody here knows of it."""

    repository: str
    commit: str
    protected: bool | None = None
    """Whether it is on the protected branch; None: this host cannot see the repository."""
    run: Run | None = None
    proven: str = ""
    """What evidence says of the build, once there is any: CI builds nothing but the protected branch."""
    gate: bool | None = None
    gate_said: str = ""


@dataclass(frozen=True)
class Standing:
    """One environment, as its CD host sees it. Commits are of the environment repository."""

    environment: str
    commit: str = ""
    """The one that brings the change; empty while there is none."""
    signer: str = ""
    on_branch: bool = True
    verified: bool = False
    newest: str = ""
    reads: bool = True
    """Whether the commit changes anything that the environment reads."""
    refusal: str = ""
    """Why the newest commit is refused now."""
    refusal_rule: str = ""
    to_do: str = ""
    ending: Ending | None = None
    """How the newest run ended that tried the newest commit."""
    began: bool = False
    deployed: bool = False
    deployed_commit: str = ""
    superseded: str = ""
    """What replaced it since."""
    ill: str = ""
    """What of it is not healthy now."""


@dataclass(frozen=True)
class Gate:
    name: str
    state: State
    said: str
    who: str = ""
    """Who can let it through."""
    command: str = ""


@dataclass(frozen=True)
class Why:
    """One environment's answer."""

    subject: str
    environment: str
    gates: tuple[Gate, ...]

    @property
    def first(self) -> Gate | None:
        """The gate that holds it; None when it is live."""
        return next((gate for gate in self.gates if gate.state == "holds"), None)

    @property
    def live(self) -> bool:
        return self.first is None and self.gates[-1].state == "passes"

    @property
    def verdict(self) -> str:
        if self.first:
            return f"held at: {self.first.name}"
        return "live" if self.live else "not told from here"


def why(
    subject: str, source: Source | None, standing: Standing, signers: Iterable[Signer] = (), *, on_ci: bool = False
) -> Why:
    """Every gate, and `later` for those behind the first that holds. CI's host sees none behind the release."""
    people = tuple(signers)
    gates = [*(_of_source(source, standing) if source else ())]
    if on_ci:
        elsewhere = f"on CD's host: interlock why {source.commit[:12] if source else standing.commit[:12]}"
        gates += [
            _release(source, standing, people),
            Gate("deploy", "unknown", "CI's host sees no cluster", "", elsewhere),
        ]
    else:
        gates += _of_environment(source, standing, people)
    return Why(subject, standing.environment, tuple(_behind_the_first(gates)))


def _behind_the_first(gates: Sequence[Gate]) -> Iterator[Gate]:
    held = False
    for gate in gates:
        yield Gate(gate.name, "later", "") if held else gate
        held = held or gate.state == "holds"


def _of_source(source: Source, standing: Standing) -> Iterator[Gate]:
    short, elsewhere = source.commit[:12], f"interlock why {source.commit[:12]}"
    branch = f"{short} is on the protected branch of {source.repository}"
    if source.proven:
        yield Gate("source", "passes", f"{branch}: CI builds nothing else")
        yield Gate("CI run", "passes", source.proven)
    else:
        yield _protected(source, branch, elsewhere)
        yield _run(source, elsewhere)
    if source.gate is None:
        blocked = source.run is not None and source.run.state == "Blocked"
        said = f"{'its run ended as Blocked, but ' if blocked else ''}nothing is known of its verdict here"
        yield Gate("gate", "unknown", said, "CI's host", f"on CI's host: {elsewhere}")
    elif source.gate:
        yield Gate("gate", "passes", source.gate_said)
    else:
        who = "who mends what was found, or waives it in policy/waivers.yaml"
        yield Gate(
            "gate",
            "holds",
            _in_one_line(source.gate_said),
            who,
            f"in a clone of {source.repository}: interlock check --source {source.repository} "
            "--environment-repository CLONE",
        )


def _protected(source: Source, branch: str, elsewhere: str) -> Gate:
    if source.protected is None:
        return Gate(
            "source", "unknown", f"this host does not see {source.repository}", "", f"on CI's host: {elsewhere}"
        )
    if source.protected:
        return Gate("source", "passes", branch)
    said = f"{source.commit[:12]} is not on the protected branch of {source.repository}"
    return Gate(
        "source", "holds", said, f"who may merge into it in {source.repository}", f"git log {source.commit[:12]}"
    )


def _run(source: Source, elsewhere: str) -> Gate:
    run = source.run
    if run is None and source.protected is None:
        return Gate("CI run", "unknown", "no run of it is known here", "", f"on CI's host: {elsewhere}")
    if run is None:
        return Gate("CI run", "holds", "no run has taken it up yet", "CI's worker", "interlock alive ci")
    if run.going:
        return Gate("CI run", "holds", f"{run.name} is {run.state.lower()}", "nobody: wait for it")
    if run.state in {"Completed", "Blocked", "Superseded", "UnderWay"}:
        return Gate("CI run", "passes", f"{run.name}: {run.state}")
    return Gate("CI run", "holds", f"{run.name}: {run.state}: {_first(run.message)}", "who pushed the commit")


def _of_environment(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Iterator[Gate]:
    gates: tuple[Callable[[Source | None, Standing, Sequence[Signer]], Gate], ...] = (
        _release,
        _verified,
        _read,
        _free,
        _approved,
        _rendered,
        _within_budget,
        _applied,
        _healthy,
    )
    for gate in gates:
        yield gate(source, standing, people)


def _release(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    name = "release" if source else "commit"
    if not standing.commit:
        signs = _names(people, lambda each: each.machine)
        said = f"no commit of the environment repository releases it to {standing.environment}{_run_said(source)}"
        elsewhere = _who_releases(source) if source else "git push"
        return Gate(name, "holds", said, f"CI, which signs as {signs}" if signs else "CI", elsewhere)
    if not standing.on_branch:
        said = f"{standing.commit[:12]} is not on the environment repository's branch"
        return Gate(name, "holds", said, "who may push to the branch", "git push")
    by = f", signed by {standing.signer}" if standing.signer else ""
    return Gate(name, "passes", f"{standing.commit[:12]}{by}")


def _run_said(source: Source | None) -> str:
    """A run may end well without a release: what it would have released is there already."""
    run = source.run if source else None
    return f"; its run said: {_first(run.message)}" if run and run.message and not run.going else ""


def _who_releases(source: Source) -> str:
    """Only CI's own host knows of the branch, and it need not be sent to itself."""
    if source.protected:
        return f"interlock release {source.repository}"
    return f"on CI's host: interlock why {source.commit[:12]}"


def _verified(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    if standing.verified or standing.deployed:
        return Gate("verified", "passes", f"every commit up to {standing.commit[:12]} is signed by who may")
    if standing.refusal:
        who = _names(people, lambda each: each.approves)
        return Gate(
            "verified",
            "holds",
            _first(standing.refusal),
            f"who pushed it, or by a recovery commit {who}" if who else "who pushed it",
            standing.to_do or f"interlock trust explain {standing.newest[:12]}",
        )
    if _ended(standing):
        return Gate("verified", "passes", f"the newest run of this host has verified {standing.newest[:12]}")
    said = "no run of this host has looked at it yet"
    return Gate("verified", "holds", said, "nobody: the next run does", f"interlock sync {standing.environment}")


def _read(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    if standing.reads:
        return Gate("environment", "passes", f"{standing.environment} reads what it changes")
    said = f"it changes nothing that {standing.environment} reads"
    who = _names(people, lambda each: may_write(each, f"environments/{standing.environment}/environment.yaml"))
    return Gate(
        "environment", "holds", said, who, f"interlock render {standing.environment} --commit {standing.commit[:12]}"
    )


def _free(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    ending = _ended(standing)
    if ending and ending.rule in {"frozen", "denied"}:
        return Gate("freeze", "holds", _first(ending.why), "root on CD's host", ending.to_do)
    return _looked(standing, "freeze", "neither frozen nor denied on this host")


def _approved(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    ending = _ended(standing)
    if ending and ending.rule.startswith(("approv", "awaitsapproval", "evidence")):
        proof = ending.rule.startswith("evidence")
        who = "" if proof else _names(people, lambda each: each.approves)
        command = ending.to_do or f"interlock approve {standing.environment}"
        return Gate("evidence" if proof else "approvals", "holds", _two(ending.why), who, command)
    return _looked(standing, "approvals", "none is missing")


def _rendered(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    ending = _ended(standing)
    if ending and ending.state == "refused":
        return Gate("rendered", "holds", _first(ending.why), "who wrote the line", ending.to_do)
    return _looked(standing, "rendered", "its manifests can be rendered")


def _within_budget(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    ending = _ended(standing)
    if ending and ending.state == "blocked":
        file = f"environments/{standing.environment}/environment.yaml"
        who = _names(people, lambda each: may_write(each, file) and not each.machine)
        said = _two(ending.why)
        to_do = ending.to_do.removeprefix("nothing was written; ")
        return Gate("plan", "holds", said, f"{who}, who may write {file}" if who else "", to_do)
    return _looked(standing, "plan", "within the budget, and nothing in it is blocked")


def _applied(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    ending = _ended(standing)
    if standing.deployed or standing.began or (ending and ending.state == "unhealthy"):
        return Gate("applied", "passes", "its sync has begun" if not standing.deployed else "its objects were written")
    said = _first(ending.why) if ending else "no run has begun it"
    command = (ending.to_do if ending else "") or f"interlock sync {standing.environment}"
    return Gate("applied", "holds", said, "nobody: the next run does", command)


def _healthy(source: Source | None, standing: Standing, people: Sequence[Signer]) -> Gate:
    ending = _ended(standing)
    if standing.superseded:
        said = f"it was live, and is no more: {standing.superseded}"
        return Gate("healthy", "holds", said, "who wrote the newer one", f"interlock trace {standing.commit[:12]}")
    if standing.deployed and not standing.ill:
        return Gate("healthy", "passes", f"{standing.environment} is deployed at {standing.deployed_commit[:12]}")
    said = standing.ill or (_first(ending.why) if ending else "its sync waits until everything is healthy")
    command = ending.to_do if ending and ending.to_do else f"interlock status {standing.environment}"
    return Gate("healthy", "holds", said, "who wrote the change", command)


def _looked(standing: Standing, name: str, said: str) -> Gate:
    """A gate that a run has passed; before any has looked at the newest commit nothing is claimed."""
    if standing.deployed or standing.began or _ended(standing):
        return Gate(name, "passes", said)
    return Gate(name, "unknown", "no run of this host has looked yet")


def _ended(standing: Standing) -> Ending | None:
    """How a run ended that tried what is newest, as long as the change is not deployed."""
    ending = standing.ending
    return ending if ending and ending.commit == standing.newest and not standing.deployed else None


def _names(people: Iterable[Signer], wanted: Callable[[Signer], bool]) -> str:
    return ", ".join(each.name for each in people if wanted(each))


def _two(text: str) -> str:
    """What is wrong, and the first reason."""
    lines = [line.strip().removeprefix("- ") for line in text.splitlines()[:2]]
    return ": ".join((lines[0].rstrip(":"), *lines[1:])) if lines else ""


def _in_one_line(text: str) -> str:
    """A refusal and its reasons, which stand below it as a list."""
    first, *reasons = (line.strip().removeprefix("- ") for line in text.splitlines() or [""])
    return f"{first}: {'; '.join(reasons)}" if reasons else first


def _first(text: str) -> str:
    return text.splitlines()[0] if text else ""


def proven(brought: Brought, found: Evidence | None, environment: str) -> Source:
    """What the evidence of a release says."""
    if found is None:
        return Source(brought.repository, brought.source, gate=None, proven=f"it was released by {brought.signer}")
    builds = [each.get("runDetails") or {} for each in found.predicates(evidence.PROVENANCE)]
    runs = [str((each.get("metadata") or {}).get("invocationId", "")) for each in builds]
    passed = sum(len(each.get("passedTests") or ()) for each in found.predicates(evidence.TEST_RESULT))
    verdicts = [each for each in found.predicates(evidence.GATE_VERDICT) if each.get("environment") == environment]
    gate = all(each.get("result") == "PASSED" for each in verdicts) if verdicts else None
    policy = str((verdicts[-1].get("policy") or {}).get("commit", ""))[:12] if verdicts else ""
    reasons = "; ".join(str(reason) for each in verdicts for reason in each.get("reasons") or ())
    return Source(
        brought.repository,
        brought.source,
        proven=f"{', '.join(filter(None, runs)) or 'a run'} built and tested it: {passed} passed",
        gate=gate,
        gate_said=f"passed for {environment} by the policy of {policy}" if gate else reasons,
    )


# as a report -----------------------------------------------------------------------------------------

_MARKS: dict[State, str] = {"passes": "ok", "holds": "HOLDS", "unknown": "?", "later": "-"}


def report(found: Why) -> Report:
    """One line a gate; below them the first that holds, who can let it through, and the command."""
    rows: list[tuple[str, ...]] = [(gate.name, _MARKS[gate.state], gate.said) for gate in found.gates]
    title = f"{found.subject} in {found.environment}: {found.verdict}"
    return Report("why", title, _next(found), (Table.of("gate", "state", "what", rows=rows),), data(found))


def _next(found: Why) -> str:
    gate = found.first or next((each for each in found.gates if each.state == "unknown" and each.command), None)
    if gate is None or found.live:
        return ""
    lines = [f"who: {gate.who}"] * bool(gate.who) + [f"next: {gate.command}"] * bool(gate.command)
    return "\n".join(lines)


def data(found: Why) -> dict[str, object]:
    return {
        "subject": found.subject,
        "environment": found.environment,
        "live": found.live,
        "verdict": found.verdict,
        "first": asdict(found.first) if found.first else None,
        "gates": [asdict(gate) for gate in found.gates],
    }
