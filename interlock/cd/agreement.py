"""What people are told of approvals: what waits, for whom, and the next command. Pure."""

from __future__ import annotations

from interlock.contract.approvals import Question, Weighed
from interlock.contract.report import Report, Table, cell, counted
from interlock.errors import AwaitsApproval


def awaits(found: Question) -> AwaitsApproval:
    """The error of a run that ends because people have to agree first."""
    lines = "".join(f"\n  - {line}" for line in found.wanted)
    return AwaitsApproval(
        f"{found.environment}: {found.commit[:12]} waits for approvals:{lines}",
        hint=f"{', '.join(found.may) or 'somebody who has not made the change'}: {command(found)}",
    )


def command(found: Question) -> str:
    """What an approver types, in a clone of the environment repository."""
    base = found.base or "nothing"
    return f"interlock approve {found.environment} --deployed {base}"


def report(found: Question) -> Report:
    """Who has agreed, who has to, and to what."""
    state = "approved" if found.answered else "waits for approvals"
    lines = [f"**Missing:** {cell(line)}" for line in found.wanted]
    if found.wanted:
        lines.append(f"**Who may:** {cell(', '.join(found.may) or 'nobody who has not made the change')}")
        lines.append(f"**What to do:** `{command(found)}`")
    lines.append(
        f"**Made by:** {cell(', '.join(sorted(found.authors)) or 'nobody known')}, whose approval does not count"
    )
    lines += [f"**By nobody who may change it:** {cell(line)}" for line in found.outside]
    deployed = f"`{found.base[:12]}`" if found.base else "nothing"
    what = counted(len(found.changed), "thing")
    lines.append(f"**Changed since {deployed}:** {what} that {cell(found.environment)} reads")
    given = Table.of("approver", "given as", "until", "counts", rows=[_row(each, found) for each in found.approvals])
    changed = Table.of("what it reads", rows=[(name,) for name in found.changed[:_MOST_ROWS]])
    return Report(
        "approvals",
        f"{found.environment} at {found.commit[:12]}: {state}",
        "\n\n".join(lines),
        (*((given,) if found.approvals else ()), changed),
        data=data(found),
    )


_MOST_ROWS = 100


def _row(each: Weighed, found: Question) -> tuple[str, str, str, str]:
    nobody = "nobody" if each.source == "review" else each.path
    return each.approver or nobody, given_as(each), each.ends, counts(each, found)


def given_as(each: Weighed) -> str:
    """Where an approval was given."""
    return each.path if each.source == "review" else each.source


def counts(each: Weighed, found: Question) -> str:
    """Whether one approval counts, or why not."""
    if each.problem:
        return f"no: {each.problem}"
    return "no: it is the approver's own change" if each.approver in found.authors else "yes"


def data(found: Question) -> dict[str, object]:
    return {
        "environment": found.environment,
        "commit": found.commit,
        "deployed": found.base,
        "reads": found.reads,
        "approved": found.answered,
        "missing": list(found.wanted),
        "may": list(found.may),
        "authors": sorted(found.authors),
        "outside": list(found.outside),
        "changed": list(found.changed),
        "approvals": [
            {
                "path": each.path,
                "source": each.source,
                "approver": each.approver,
                "ends": each.ends,
                "counts": counts(each, found),
            }
            for each in found.approvals
        ],
    }
