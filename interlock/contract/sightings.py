"""What evidence tells the gate: scans with their findings, and since when each finding is known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace

from interlock.contract import evidence
from interlock.contract.evidence import Evidence, Json
from interlock.contract.finding import Finding, Scan
from interlock.errors import FormatError

REMEMBERED_DAYS = 365
"""A finding that went away is remembered so long: who brings it back gets no second grace."""


@dataclass(frozen=True)
class Sighting:
    """The days (UTC) on which a finding that counts for the gate was there first and last."""

    first: dt.date
    last: dt.date
    present: bool = True
    """Whether the verdict that tells of it found it."""


@dataclass(frozen=True)
class Known:
    """`seen`: by `Finding.key`, of all environments. `before`: what the release of one environment has; None when it
    has no release, or one whose evidence does not tell.
    """

    seen: Mapping[str, Sighting] = field(default_factory=dict)
    before: frozenset[str] | None = None
    released: bool = False
    """What is judged is what is released, so that what nobody knew of it has come to light."""

    def with_seen(self, present: Iterable[Finding], today: dt.date) -> dict[str, Sighting]:
        """What is known after these were seen today; the day of the first sight never moves.

        What a release brings for the first time has been known since it was published: it came in, not to light.
        """
        gone = {
            key: replace(each, present=False)
            for key, each in self.seen.items()
            if (today - each.last).days <= REMEMBERED_DAYS
        }
        here = {each.key: Sighting(self._first(each, today), today) for each in present}
        return dict(sorted((gone | here).items()))

    def _first(self, finding: Finding, today: dt.date) -> dt.date:
        if finding.key in self.seen:
            return min(self.seen[finding.key].first, today)
        return today if self.released or not finding.published else min(_day(finding.published), today)


NOTHING = Known()


# reading statements ----------------------------------------------------------------------------------


def scans(proof: Evidence) -> tuple[Scan, ...]:
    """The scans that the statements tell of, with their findings, and without their database: its age was judged."""
    with _reading(proof):
        return tuple(_scan(each) for each in proof.predicates(evidence.VULNERABILITIES))


def _scan(predicate: Json) -> Scan:
    scanner = predicate["scanner"]
    found = tuple(_finding(each) for each in scanner["result"]["findings"])
    result = scanner["result"]
    doubt = str(result.get("doubt", ""))
    return Scan(
        result["scanned"],
        assessed=not doubt,
        doubt=doubt,
        findings=(*found, *_licences(result)),
        scanner=f"{scanner['uri']} {scanner['version']}",
        licences="licences" in result,
    )


def _licences(result: Json) -> Iterator[Finding]:
    """One for each licence of a package, which is named as a waiver would name it."""
    for name, packages in result.get("licences", {}).items():
        for package in packages:
            yield Finding("licence", str(name), "UNKNOWN", str(result["scanned"]), "licence", package=str(package))


def _finding(told: Json) -> Finding:
    own = {each.name for each in fields(Finding)}
    return Finding(**{key: value for key, value in told.items() if key in own})


def sightings(proof: Evidence) -> dict[str, Sighting]:
    """From the gate's verdicts; from the scans' own date where an older version wrote none."""
    verdicts = [each for each in proof.predicates(evidence.GATE_VERDICT) if "findings" in each]
    with _reading(proof):
        if verdicts:
            return {
                each["finding"]: Sighting(_day(each["firstSeen"]), _day(each["lastSeen"]), each["present"])
                for verdict in verdicts
                for each in verdict["findings"]
            }
        return {
            finding.key: Sighting(day, day)
            for predicate in proof.predicates(evidence.VULNERABILITIES)
            for day in (_day(predicate["metadata"]["scanFinishedOn"][:10]),)
            for finding in _scan(predicate).findings
        }


def present(proof: Evidence) -> frozenset[str] | None:
    """What the verdict found; None when it does not tell."""
    if not any("findings" in each for each in proof.predicates(evidence.GATE_VERDICT)):
        return None
    return frozenset(key for key, sighting in sightings(proof).items() if sighting.present)


@contextmanager
def _reading(proof: Evidence) -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        hint = "a newer version may have written it: upgrade this host"
        raise FormatError(f"is not understood: {error!r}", path=f"the evidence of {proof.image}", hint=hint) from error


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)
