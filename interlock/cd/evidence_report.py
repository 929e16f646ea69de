"""The section on a plan's and a run's page that says of each image what vouches for it, and which link is broken."""

from __future__ import annotations

from interlock.cd.proofs import ImageProof, Proven
from interlock.contract.report import Branch, Report, Table, counted, cut

_MOST_ROWS = 200
_MOST_CHARACTERS = 60_000


def evidence_report(environment: str, proven: Proven) -> Report:
    """Broken ones first. `data` has every image."""
    images = sorted(proven.images, key=lambda each: (not each.blocking, not each.ageing, each.image))
    rows = cut([_row(each) for each in images], most=_MOST_ROWS, characters=_MOST_CHARACTERS)
    broken, ageing = len(proven.broken), sum(bool(each.ageing and not each.blocking) for each in images)
    verdict = f"{broken} without proof" if broken else "all proven"
    title = f"Images of {environment}: {counted(len(images), 'image')}, {verdict}"
    title += f", {ageing} degraded" if ageing else ""
    table = Table.of("Image", "Used by", "Vouched for by", "State", rows=rows)
    return Report("evidence", title, "", (table,) if rows else (), [_data(each) for each in images], _tree(images))


def _row(proof: ImageProof) -> tuple[str, ...]:
    more = f", {len(proof.used) - 1} more" if len(proof.used) > 1 else ""
    return proof.image, proof.used[0].where + more, proof.by or "nothing", _state(proof)


def _state(proof: ImageProof) -> str:
    if proof.faults:
        word = "refused" if proof.blocking else "degraded"
        return f"{word}: " + " / ".join(map(str, proof.faults))
    return "holds"


def _tree(images: list[ImageProof]) -> tuple[Branch, ...]:
    return tuple(
        Branch(
            f"{each.image}: {each.by or 'nothing vouches for it'}",
            (Branch(each.used[0].where, tone="quiet"), *(Branch(str(fault), tone="bad") for fault in each.faults)),
            "bad" if each.blocking else "odd" if each.faults else "good",
        )
        for each in images
    )


def _data(proof: ImageProof) -> dict[str, object]:
    return {
        "image": proof.image,
        "used": [each.where for each in proof.used],
        "by": proof.by,
        "state": "refused" if proof.blocking else "degraded" if proof.faults else "holds",
        "faults": [{"link": each.link, "said": each.said, "fix": each.fix} for each in proof.faults],
    }
