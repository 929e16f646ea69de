"""What a release tells people: the scans, the tests, the gate's verdict and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from interlock.contract.dsse import fingerprint
from interlock.contract.evidence import read_statement
from interlock.contract.finding import SEVERITIES, Finding, Kind, Scan
from interlock.contract.gate import Hit, Verdict, blocks
from interlock.contract.report import Report, Table, cell, cut

if TYPE_CHECKING:
    from interlock.ci.junit import TestRun
    from interlock.ci.rescan import Rescanned
    from interlock.ci.signing import Signed
    from interlock.ci.targets import Released
    from interlock.contract.models import GateRules

_LISTED = 500
_CHARACTERS = 200_000
_CURES: Mapping[Kind, str] = {
    "secret": (
        "secret: revoke the credential first; then take its commit out of the branch, or remove the secret and waive "
        "what stays in the history (`id@path@commit`)"
    ),
    "vulnerability": "vulnerability: raise the package to the fixed version that stands in the row",
    "rule": "rule: change the template or the value that the line names; policy/rules.yaml has the rules",
    "misconfiguration": "misconfiguration: change the file in the row",
    "code": "code: change the line in the row; the scan's report links to why and how",
    "licence": "licence: use another package, or another version of it",
}
_REPAIRS = {
    "tests: ": "tests: see the report on the tests, mend, push again",
    ": not scanned": "not scanned: the scanner's host needs repair; then start the release again",
    ": not assessable": (
        "not assessable: use a supported base image of a system that the scanner knows, with its package database, or "
        "allow it in policy/gate.yaml (`unassessable`)"
    ),
}
_WAIVER = "a finding that must pass for a while: a waiver with owner and end in policy/waivers.yaml"


def scan_report(scans: Sequence[Scan], *, component: str, rules: GateRules) -> Report:
    """Counts per scan, and a line per finding, those that block first."""
    hits = [(blocks(finding, rules), scan.subject, finding) for scan in scans for finding in scan.findings]
    hits.sort(key=lambda hit: (not hit[0], hit[2].order, hit[1]))
    blocking = sum(hit[0] for hit in hits)
    failed = [scan.subject for scan in scans if scan.failure]
    verdict = f"{_many(blocking, 'finding')} of {len(hits)} may block" if hits else "nothing found"
    if failed:
        verdict = f"{', '.join(failed)} not scanned"
    return Report(
        key="scan",
        title=f"Scan of {component}: {verdict}",
        markdown=_scanned_with(scans),
        tables=(_counts(scans), *((_findings(hits),) if hits else ())),
        data=[_scan_data(scan) for scan in scans],
    )


def _scanned_with(scans: Sequence[Scan]) -> str:
    lines = dict.fromkeys(
        f"Scanned with {scan.scanner}; vulnerability database of {scan.database.updated:%Y-%m-%d %H:%M} UTC"
        + (" (pinned by this host: not refreshed, its age is not judged)" if scan.database.pinned else "")
        for scan in scans
        if scan.database
    )
    lines |= dict.fromkeys(f"Code analysed with {scan.scanner}" for scan in scans if scan.subject == "code")
    notes = dict.fromkeys(f"{scan.subject}: {note}" for scan in scans for note in scan.notes)
    return "\n\n".join((*lines, *(cell(note) for note in notes)))


def _counts(scans: Iterable[Scan]) -> Table:
    rows = [
        (scan.subject, _state(scan), *(str(scan.counts()[severity]) for severity in SEVERITIES), str(_secrets(scan)))
        for scan in scans
    ]
    return Table.of("scanned", "state", *(severity.lower() for severity in SEVERITIES), "of these secrets", rows=rows)


def _state(scan: Scan) -> str:
    if scan.failure:
        return f"NOT SCANNED: {scan.failure}"
    return "done" if scan.assessed else f"not assessable: {scan.doubt}"


def _secrets(scan: Scan) -> int:
    return sum(finding.kind == "secret" for finding in scan.findings)


def _findings(hits: Sequence[tuple[bool, str, Finding]]) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            "yes" if blocking else "",
            finding.severity,
            finding.id,
            f"{subject}: {finding.place}",
            f"{finding.package} {finding.installed}".strip(),
            _cure(finding),
            finding.title,
        )
        for blocking, subject, finding in hits[:_LISTED]
    ]
    if len(hits) > _LISTED:
        rows.append(("", "", "", f"{len(hits) - _LISTED} more", "", "", ""))
    return Table.of("blocks", "severity", "finding", "where", "package", "fixed in", "what", rows=rows)


def _scan_data(scan: Scan) -> dict[str, object]:
    return {
        "subject": scan.subject,
        "assessed": scan.assessed,
        "doubt": scan.doubt,
        "failure": scan.failure,
        "scanner": scan.scanner,
        "database": scan.database
        and {
            "updated": scan.database.updated.isoformat(),
            "digest": scan.database.digest,
            "pinned": scan.database.pinned,
        },
        "notes": list(scan.notes),
        "findings": [asdict(finding) for finding in scan.findings],
    }


def results_report(run: TestRun, *, component: str, log: str = "") -> Report:
    """Counts and the cases that failed; the end of the log when they did not pass. `log`: the file with all of it."""
    problems = run.problems
    report = run.report
    counts = report.summary if report else "no report"
    counts += f", covered {run.coverage.summary}" if run.coverage else ""
    title = f"Tests of {component}: {'passed' if not problems else 'FAILED'} ({counts}, {run.seconds:.1f} s)"
    failed = Table.of("case", "message", rows=[(case.name, case.message) for case in report.failed] if report else [])
    covered = _covered(run)
    return Report(
        key="tests",
        title=title,
        markdown="\n\n".join(
            (
                _where(run),
                *(f"- {cell(problem)}" for problem in problems),
                *((_quoted(run.log),) if problems and run.log else ()),
                *((_kept(log),) if log else ()),
            )
        ),
        tables=tuple(table for table in (failed, covered) if table.rows),
        data={
            "services": list(run.services),
            "coverage": run.coverage and {"lines": run.coverage.lines, "covered": run.coverage.covered},
            "exit_code": run.exit_code,
            "passed": list(report.passed) if report else [],
            "failed": [asdict(case) for case in report.failed] if report else [],
            "skipped": list(report.skipped) if report else [],
            "problems": list(problems),
        },
    )


def build_report(component: str, *, log: str, failed: bool) -> Report:
    """Where all that a build printed is: the run's log has the beginning only."""
    return Report("build", f"Build of {component}: {'FAILED' if failed else 'done'}", _kept(log))


def _kept(log: str) -> str:
    return f"All that was printed: `{cell(log)}` on CI's host; `zless` shows it."


def _where(run: TestRun) -> str:
    if not run.services:
        return "Ran inside the built image, without network."
    return f"Ran inside the built image, with no network but its services: {', '.join(map(cell, run.services))}"


_UNCOVERED = 25
"""So many files are listed."""


def _covered(run: TestRun) -> Table:
    """All files together, then those with the most lines that no test ran through."""
    if run.coverage is None:
        return Table.of("covered", "lines", "not run", "share", rows=[])
    worst = sorted(run.coverage.files, key=lambda each: (each.covered - each.lines, each.name))[:_UNCOVERED]
    rows = [("all files", run.coverage.lines, run.coverage.covered), *((e.name, e.lines, e.covered) for e in worst)]
    return Table.of(
        *("covered", "lines", "not run", "share"),
        rows=[(name, str(all_), str(all_ - ran), f"{100 * ran / max(all_, 1):.1f} %") for name, all_, ran in rows],
    )


def _quoted(lines: Iterable[str]) -> str:
    """Lines of a log as a code block that they cannot end."""
    return "The last lines of the log:\n\n" + "\n".join("    " + line.replace("\r", " ") for line in lines)


def gate_report(verdicts: Mapping[str, Verdict], *, component: str, commit: str) -> Report:
    """The gate's verdict for each environment, what stops it, and what to do."""
    blocked = [environment for environment, verdict in verdicts.items() if not verdict.passed]
    title = f"Gate for {component} {commit[:12]}: " + (
        f"BLOCKED for {', '.join(blocked)}" if blocked else f"passed for {', '.join(verdicts)}"
    )
    return Report(
        key="gate",
        title=title,
        markdown="\n\n".join((*_what_to_do(verdicts), *_notes(verdicts))),
        tables=tuple(table for table in _gate_tables(verdicts) if table.rows),
        data={environment: _verdict_data(verdict) for environment, verdict in verdicts.items()},
    )


def _what_to_do(verdicts: Mapping[str, Verdict]) -> list[str]:
    if all(verdict.passed for verdict in verdicts.values()):
        return ["Nothing stops this release."]
    kinds = {hit.finding.kind for verdict in verdicts.values() for hit in verdict.blocking}
    reasons = [reason for verdict in verdicts.values() for reason in verdict.reasons]
    steps = [
        *(step for kind, step in _CURES.items() if kind in kinds),
        *(step for words, step in _REPAIRS.items() if any(words in reason for reason in reasons)),
        *([_WAIVER] if kinds else []),
    ]
    return ["\n".join(("What to do:", *(f"- {step}" for step in steps)))]


def _notes(verdicts: Mapping[str, Verdict]) -> list[str]:
    notes = dict.fromkeys(note for verdict in verdicts.values() for note in verdict.notes)
    expiring = dict.fromkeys(
        f"the waiver of {waiver.owner} for {waiver.finding} ends on {waiver.ends}"
        for verdict in verdicts.values()
        for waiver in verdict.expiring
    )
    databases = dict.fromkeys(each for verdict in verdicts.values() for each in verdict.databases)
    return [
        *(f"Vulnerability database: {each}" for each in databases),
        *(f"Note: {cell(note)}" for note in (*notes, *expiring)),
    ]


def _reasons(verdicts: Mapping[str, Verdict]) -> Table:
    by_reason: dict[str, list[str]] = {}
    for environment, verdict in verdicts.items():
        for reason in verdict.reasons:
            by_reason.setdefault(reason, []).append(environment)
    rows: list[tuple[str, ...]] = [(", ".join(environments), reason) for reason, environments in by_reason.items()]
    return Table.of("blocks", "reason", rows=rows)


def _gate_tables(verdicts: Mapping[str, Verdict]) -> tuple[Table, ...]:
    return (
        _reasons(verdicts),
        _upgrades([each.blocking for each in verdicts.values()], "raise so that nothing blocks"),
        _by_hit([(name, hit, "") for name, each in verdicts.items() for hit in each.new], "new since the last release"),
        _by_hit(
            [(name, one.hit, f"blocks from {one.blocks} on") for name, each in verdicts.items() for one in each.graced],
            "in its grace",
        ),
        _waived(verdicts),
        _fixed(verdicts),
    )


def _upgrades(found: Iterable[Iterable[Hit]], title: str) -> Table:
    """What to raise to which version, a line for each package in each place."""
    fixes: dict[tuple[str, str, str], dict[str, None]] = {}
    for hit in dict.fromkeys(hit for hits in found for hit in hits):
        finding = hit.finding
        if finding.kind == "vulnerability" and finding.fixed:
            row = (finding.package, finding.installed, f"{hit.subject}: {finding.place}")
            fixes.setdefault(row, {})[f"{finding.fixed} ({finding.id})"] = None
    rows = [(package, installed, ", ".join(cures), where) for (package, installed, where), cures in fixes.items()]
    return Table.of(title, "from", "to", "where", rows=cut(rows, most=_LISTED, characters=_CHARACTERS))


def _by_hit(found: Iterable[tuple[str, Hit, str]], title: str) -> Table:
    """A line for each finding: what it is, what to upgrade to, where it is, the environments, and what else is told."""
    environments: dict[tuple[Hit, str], list[str]] = {}
    for environment, hit, told in found:
        environments.setdefault((hit, told), []).append(environment)
    rows = [
        (
            hit.finding.id,
            hit.finding.severity,
            f"{hit.finding.package} {hit.finding.installed}".strip(),
            _cure(hit.finding),
            f"{hit.subject}: {hit.finding.place}",
            ", ".join(names),
            *((told,) if told else ()),
        )
        for (hit, told), names in environments.items()
    ]
    more = ("grace",) if any(told for _, told in environments) else ()
    columns = (title, "severity", "package", "fixed in", "where", "for", *more)
    return Table.of(*columns, rows=cut(rows, most=_LISTED, characters=_CHARACTERS))


def _cure(finding: Finding) -> str:
    return finding.fixed or ("no fix" if finding.kind == "vulnerability" else "")


def _waived(verdicts: Mapping[str, Verdict]) -> Table:
    """Those that end soon first, and marked."""
    rows = dict.fromkeys(
        (
            str(each.hit),
            each.waiver.owner,
            f"{each.waiver.ends}{', ends soon' if each.waiver in verdict.expiring else ''}",
            each.waiver.reason,
        )
        for verdict in verdicts.values()
        for each in verdict.waived
    )
    return Table.of("waived finding", "by", "until", "because", rows=sorted(rows, key=lambda row: (row[2], row[0])))


def _fixed(verdicts: Mapping[str, Verdict]) -> Table:
    environments: dict[str, list[str]] = {}
    for name, verdict in verdicts.items():
        for key in verdict.fixed:
            environments.setdefault(key, []).append(name)
    rows = [(key, ", ".join(names)) for key, names in environments.items()]
    return Table.of("fixed since the last release", "for", rows=cut(rows, most=_LISTED, characters=_CHARACTERS))


def _verdict_data(verdict: Verdict) -> dict[str, object]:
    return {
        "passed": verdict.passed,
        "reasons": list(verdict.reasons),
        "waived": [str(each) for each in verdict.waived],
        "expiring": [each.model_dump(mode="json") for each in verdict.expiring],
        "in grace": [str(each) for each in verdict.graced],
        "new": [str(each) for each in verdict.new],
        "fixed": list(verdict.fixed),
        "notes": list(verdict.notes),
        "databases": list(verdict.databases),
    }


def release_report(repository: str, commit: str, released: Sequence[Released], *, builder: str) -> Report:
    """Where each component went, and the commits that say so. `builder` says how images are built here."""
    rows: list[tuple[str, ...]] = [
        (
            each.component,
            ", ".join(each.environments) or "nowhere",
            ", ".join(each.blocked) or "none",
            each.image or "none",
            each.failure.message.splitlines()[0] if each.failure else _commit_of(each),
        )
        for each in released
    ]
    merged_by_people: list[tuple[str, ...]] = [
        (each.component, ", ".join(each.proposed), each.pull_request or "not on the forge: see the report")
        for each in released
        if each.proposed
    ]
    reused: list[tuple[str, ...]] = [(each.component, each.built[:12], each.image) for each in released if each.built]
    written = [each for each in released if each.commit]
    closed = [each for each in released if each.blocked]
    verdict = "not released" if closed else "released already"
    verdict = "released" if written else "proposed" if merged_by_people else verdict
    next_step = ("CD deploys an environment as soon as it sees the release commit.",) if written else ()
    last = "release commit, or why there is none" if any(each.failure for each in released) else "release commit"
    tables = (
        Table.of("component", "released to", "kept out of", "image", last, rows=rows),
        Table.of("component", "proposed to", "pull request", rows=merged_by_people),
        Table.of("component", "built before, from", "image", rows=reused),
    )
    return Report(
        key="release",
        title=f"{repository} {commit[:12]}: {verdict}"
        + (", but not everywhere" if closed and (written or merged_by_people) else ""),
        markdown="\n\n".join((*next_step, _sentence(builder))),
        tables=tuple(each for each in tables if each.rows),
        data={"repository": repository, "commit": commit, "components": [_released(each) for each in released]},
    )


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."


def _commit_of(released: Released) -> str:
    return released.commit[:12] or ("none yet" if released.proposed else "released before")


def _released(released: Released) -> dict[str, Any]:
    told = asdict(replace(released, failure=None))
    return {**told, "failure": released.failure.message if released.failure else ""}


def evidence_report(signed: Signed, *, component: str, image: str) -> Report:
    """What was signed about an image, and how others verify it."""
    types = {name: read_statement(each.payload).predicate_type for name, each in sorted(signed.envelopes.items())}
    rows: list[tuple[str, ...]] = list(types.items())
    return Report(
        key="evidence",
        title=f"Evidence on {component}: {_many(len(rows), 'statement')} signed",
        markdown="\n\n".join(
            (
                f"Signed with the key {fingerprint(signed.public)}, whose public half is",
                _indented(signed.public),
                "Kept in the registry beside the image. With the public half in a file, cosign verifies it offline:",
                _indented(_COSIGN.format(image=image)),
            )
        ),
        tables=(Table.of("statement", "of the kind", rows=rows),),
        data={"image": image, "public": signed.public, "statements": types},
    )


_COSIGN = """\
cosign verify --key KEY.pub --insecure-ignore-tlog {image}
cosign verify-attestation --key KEY.pub --insecure-ignore-tlog --type slsaprovenance1 {image}"""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def rescan_report(rescanned: Sequence[Rescanned]) -> Report:
    """Every release with today's verdict, those that are not clean first, and what to do about them."""
    order = sorted(rescanned, key=lambda each: (each.clean, bool(each.trouble), each.name))
    verdicts = {each.name: each.verdict for each in order if not each.trouble}
    dirty = sum(not each.passed for each in verdicts.values())
    unknown = len(order) - len(verdicts)
    told = [f"{dirty} NOT CLEAN"] * bool(dirty) + [f"{unknown} not judged"] * bool(unknown)
    table = Table.of(
        *("release", "source", "verdict", "blocks now", "image"), rows=[_rescanned(each) for each in order]
    )
    return Report(
        key="rescan",
        title=f"{_many(len(order), 'release')} judged again: {', '.join(told) or 'all clean'}",
        markdown="\n\n".join((*_rescan_steps(verdicts.values()), *_notes(verdicts))),
        tables=tuple(each for each in (table, *_gate_tables(verdicts)) if each.rows),
        data={each.name: {**_verdict_data(each.verdict), "not judged": each.trouble} for each in order},
    )


def _rescanned(each: Rescanned) -> tuple[str, ...]:
    released = each.target.released
    verdict = f"not judged: {each.trouble}" if each.trouble else "clean" if each.clean else "NOT CLEAN"
    return (
        each.name,
        f"{released.source.repository} {released.newest[:12]}" if released else "",
        verdict,
        ", ".join(each.fresh),
        released.image if released else "",
    )


def _rescan_steps(verdicts: Iterable[Verdict]) -> list[str]:
    if all(verdict.passed for verdict in verdicts):
        return []
    return [_RESCAN_STEPS]


_RESCAN_STEPS = """\
What to do: release a version with the package raised as the table says; what must stay for a while gets a waiver in
policy/waivers.yaml. Nothing was taken out of a cluster."""


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
