"""No image is planned unless each link of its chain holds, and the report names the one that does not."""

from __future__ import annotations

import datetime as dt
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import pytest

from interlock.cd.evidence_report import evidence_report
from interlock.cd.proofs import Memory, Policy, Proven, prove, read_memory, require_proven, write_memory
from interlock.cd.running import Used
from interlock.contract import evidence, layout, release, repository
from interlock.contract.attesters import AttestersFile, stricter
from interlock.contract.canonical import canonical
from interlock.contract.evidence import Base, Statement
from interlock.contract.finding import Database, Finding
from interlock.contract.models import GateRules
from interlock.contract.tree import Tree
from interlock.errors import FormatError, Refused
from tests import examples_of_evidence as proof
from tests import examples_of_repositories as example
from tests.examples_of_evidence import CRITICAL, KEY, LOW, NOW, OTHER_KEY, file_of, said, together

USED = Used(example.IMAGE, "Deployment/shop/shop", "spec.template.spec.containers[0].image")
DIGEST = USED.digest


def proven(
    tree: Tree,
    *used: Used,
    now: dt.datetime = NOW,
    memory: Memory | None = None,
    known: tuple[str, ...] = (),
    required: bool = False,
) -> Proven:
    read = repository.read(tree)
    policy = Policy(read.attesters or AttestersFile(format=1), required, now, "code")
    return prove(used or (USED,), read, "dev", policy=policy, memory=memory or Memory(), known=known)


def links(found: Proven) -> list[str]:
    return [fault.link for each in found.broken for fault in each.blocking]


def told(found: Proven) -> str:
    return " / ".join(str(fault) for each in found.images for fault in each.faults)


def changed(name: str, where: str, value: object) -> dict[str, Statement]:
    """CI's statements, one of which says something else; a signer of ours signs it all the same."""
    made = said()
    predicate = deepcopy(dict(made[name].predicate))
    *way, last = where.split()
    inner: Any = predicate
    for step in way:
        inner = inner[step]
    inner[last] = value
    if value is None:
        del inner[last]
    return together({**made, name: replace(made[name], predicate=predicate)})


def test_a_release_with_whole_evidence_holds() -> None:
    """Signed throughout by the declared key, built by the bound CI on the branch, scanned, judged and tested."""
    found = proven(proof.tree())

    assert not found.broken
    assert not found.degraded
    assert found.images[0].by == f"release of shop/web, shop {'5' * 12}"
    require_proven(found, environment="dev", commit="c" * 40)


BUILDER, INTERNAL = "runDetails builder id", "buildDefinition internalParameters"


@pytest.mark.parametrize(
    ("link", "words", "name", "where", "value"),
    [
        ("provenance", "built by urn:interlock:ci:mallory", "provenance", BUILDER, "urn:interlock:ci:mallory"),
        ("provenance", "names the branch feature", "provenance", f"{INTERNAL} branch", "feature"),
        ("provenance", "the release names the commit 5555", "provenance", f"{INTERNAL} head", "6" * 40),
        ("provenance", "may be an index", "provenance", f"{INTERNAL} imageId", None),
        ("tests", "no test ran", "tests", "passedTests", []),
        ("tests", "they failed", "tests", "result", "FAILED"),
        ("scan", "CI's own verdict", "gate-dev", "result", "FAILED"),
        ("scan", "one verdict for dev", "gate-dev", "environment", "prod"),
        ("scan", "which is to come", "gate-dev", "timeVerified", "2031-01-01T00:00:00Z"),
        ("release", "not understood", "gate-dev", "timeVerified", None),
        ("scan", "source: not scanned", "scan-source", "scanner result scanned", "code"),
        ("scan", "not assessable", "scan-image", "scanner result doubt", "no packages"),
    ],
)
def test_each_link_is_asked_for(link: str, words: str, name: str, where: str, value: object) -> None:
    """What is signed and says the wrong thing is refused by the link that it breaks."""
    found = proven(proof.tree(file_of(changed(name, where, value))))

    assert link in links(found)
    assert words in told(found)


def test_tests_and_scans_cannot_be_left_out() -> None:
    """Evidence that does not speak of them is none."""
    made = said()

    for name, link in (("tests", "tests"), ("scan-image", "scan"), ("scan-code", "scan"), ("gate-dev", "scan")):
        less = {key: value for key, value in made.items() if key != name}
        assert link in links(proven(proof.tree(file_of(less)))), name


@pytest.mark.parametrize("name", sorted(set(said()) & {"provenance", "tests", "gate-dev", "scan-image", "sbom"}))
@pytest.mark.parametrize("key", [None, OTHER_KEY], ids=["nobody", "another key"])
def test_every_statement_is_signed_by_a_declared_key(name: str, key: Any) -> None:
    """One that nobody signed, or another key, is refused, though all others are signed well."""
    found = proven(proof.tree(file_of(said(), but={name: key})))

    assert links(found) == ["signature"]
    assert "1 statement is not signed" in told(found)


def mixed(*, older: bool, apart: dt.timedelta = dt.timedelta(days=1), run: str = "run-1") -> bytes:
    """A verdict whose scan found something that was waived, beside the clean scans of another signing."""
    lenient = said(found=proof.scans(CRITICAL), rules=GateRules(vulnerabilities=()))
    clean = said(found=proof.scans(), now=NOW - apart, run=run)
    beside = {name: each for name, each in clean.items() if name.startswith("scan-")}
    return file_of(_older({**lenient, **beside}) if older else {**lenient, **beside})


def _older(made: dict[str, Statement]) -> dict[str, Statement]:
    """As it was made before verdicts named the statements that they rest on."""
    inner = {key: each for key, each in made["gate-dev"].predicate.items() if key != "inputAttestations"}
    return {**made, "gate-dev": replace(made["gate-dev"], predicate=inner)}


def test_statements_of_two_signings_are_not_put_together() -> None:
    """Each is signed well; evidence made before verdicts name the others is held together by run and time."""
    assert links(proven(proof.tree(mixed(older=False)))) == ["signature"]
    assert links(proven(proof.tree(mixed(older=False, apart=dt.timedelta())))) == ["signature"]
    assert links(proven(proof.tree(mixed(older=True)))) == ["signature"]
    assert links(proven(proof.tree(mixed(older=True, apart=dt.timedelta(), run="run-0")))) == ["signature"]
    assert "were not made together with its verdict" in told(proven(proof.tree(mixed(older=True))))


def test_evidence_made_before_verdicts_named_statements_holds() -> None:
    """Nobody has to release anew because CD asks for more than was written then."""
    assert not proven(proof.tree(file_of(_older(said())))).broken


def test_a_signature_counts_for_its_own_source_alone() -> None:
    """The key of another source repository signs nothing of this one."""
    keys = proof.attesters(KEY, source="other") + proof.attesters(OTHER_KEY).partition("attesters:\n")[2]
    found = proven(proof.tree(changes={layout.ATTESTERS: keys}))

    assert links(found) == ["signature"]


def test_an_old_key_may_stand_beside_a_new_one() -> None:
    """While both are declared, evidence by either holds; what is taken out is trusted no more."""
    assert not proven(proof.tree(keys=(OTHER_KEY, KEY))).broken
    assert links(proven(proof.tree(keys=(OTHER_KEY,)))) == ["signature"]


def test_a_source_may_be_let_go_unsigned_unless_the_host_forbids() -> None:
    """By a reason in trust/; the other links are asked for all the same."""
    unsigned = {layout.ATTESTERS: proof.attesters(unsigned="its host has no signer yet")}

    assert not proven(proof.tree(file_of(said(), None), unsigned)).broken
    assert "signature" in links(proven(proof.tree(file_of(said(), None), unsigned), required=True))
    failed = changed("tests", "result", "FAILED")
    assert links(proven(proof.tree(file_of(failed, None), unsigned))) == ["tests"]


# the gate once more ----------------------------------------------------------------------------------


def test_cd_judges_the_findings_by_its_own_policy() -> None:
    """A verdict that says PASSED does not help a finding that the commit's policy blocks; a person's waiver does."""
    lenient = said(found=proof.scans(CRITICAL), rules=GateRules(vulnerabilities=()))
    waiver = "- {finding: CVE-1, component: web, reason: not reachable here, owner: ada, ends: 2030-12-31}"

    found = proven(proof.tree(file_of(lenient)))

    assert links(found) == ["scan"]
    assert "CRITICAL CVE-1 in p 1 (fixed in 2)" in told(found)
    waived = proof.tree(file_of(lenient), {layout.WAIVERS: f"format: 1\nwaivers:\n{waiver}\n"})
    assert not proven(waived).broken
    assert links(proven(waived, now=NOW + dt.timedelta(days=365))) == ["scan"]


GPL = Finding("licence", "GPL-3.0-only", "HIGH", "Debian", "licence", package="readline", installed="8.2")
MIT = replace(GPL, id="MIT", package="six")
DENIES_GPL = {layout.GATE: "format: 1\nrules:\n  licences: {denied: [GPL-3.0-only]}\n"}


def licensed(*found: Finding) -> bytes:
    """The evidence of an image in which CI, by another policy, looked for licences."""
    looked = proof.scans(*found)
    return file_of(said(found=replace(looked, image=replace(looked.image, licences=True))))


def test_cd_holds_licences_to_its_own_policy() -> None:
    """A licence that the commit's policy denies keeps out what is new and degrades what runs; a person may waive it."""
    assert not proven(proof.tree(licensed(GPL, MIT))).broken
    assert not proven(proof.tree(licensed(MIT), DENIES_GPL)).broken

    found = proven(proof.tree(licensed(GPL, MIT), DENIES_GPL))
    assert links(found) == ["scan"]
    assert "licence GPL-3.0-only of readline" in told(found)
    runs = proven(proof.tree(licensed(GPL), DENIES_GPL), known=(DIGEST,))
    assert not runs.broken and runs.degraded

    waiver = "- {finding: GPL-3.0-only@readline, component: web, reason: we bought it, owner: ada, ends: 2030-12-31}"
    waived = {**DENIES_GPL, layout.WAIVERS: f"format: 1\nwaivers:\n{waiver}\n"}
    assert not proven(proof.tree(licensed(GPL), waived)).broken


def test_licences_that_nobody_looked_for_keep_out_what_is_new() -> None:
    """Evidence of before policy asked, or of an older version, does not tell: what runs stays, degraded."""
    found = proven(proof.tree(changes=DENIES_GPL))
    assert links(found) == ["scan"]
    assert "licences not scanned" in told(found)

    runs = proven(proof.tree(changes=DENIES_GPL), known=(DIGEST,))
    assert not runs.broken and runs.degraded


ALLOWS = {
    layout.GATE: "format: 1\nrules:\n  build: {images: [registry.example/base/*], frontends: [docker.io/docker/*]}\n"
}
BASE = Base("registry.example/base/python:3.11", "sha256:" + "7" * 64, "sha256:" + "8" * 64)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (replace(BASE, name="python:3.11"), "the image python:3.11"),
        (replace(BASE, name="registry.example/other/tools"), "the image registry.example/other/tools"),
        (replace(BASE, name="docker/dockerfile:1"), "the image docker/dockerfile:1"),
        (replace(BASE, name="evil/frontend", kind="frontend"), "the frontend evil/frontend"),
        (
            Base("https://example.org/x.tar", "", "sha256:" + "9" * 64, "address"),
            "the address https://example.org/x.tar",
        ),
        (replace(BASE, name="python", digest=""), "the image python"),
    ],
)
def test_cd_holds_what_a_build_took_to_its_own_list(base: Base, words: str) -> None:
    """By the names that provenance gives, whatever CI's own verdict was; what runs is degraded."""
    given = file_of(said(bases=(BASE, base)))
    found = proven(proof.tree(given, ALLOWS))

    assert links(found) == ["scan"]
    assert f"policy does not let a build take {words}" in told(found)
    assert not proven(proof.tree(given, ALLOWS), known=(DIGEST,)).broken


def test_what_policy_lets_a_build_take_holds() -> None:
    """Images and frontends by their own lists; without a list of images any may be taken."""
    frontend = replace(BASE, name="docker/dockerfile:1", kind="frontend")
    assert not proven(proof.tree(file_of(said(bases=(BASE, frontend))), ALLOWS)).broken
    assert not proven(proof.tree(file_of(said(bases=(replace(BASE, name="python:3.11"),))))).broken


def test_the_database_was_young_enough_when_it_was_judged() -> None:
    """By this commit's policy; afterwards the verdict's own age counts, where policy gives it one."""
    old = said(found=proof.scans(LOW, database=Database(NOW - dt.timedelta(hours=300), "sha256:" + "d" * 64)))
    found = proven(proof.tree(file_of(old)))
    later = NOW + dt.timedelta(hours=50)
    aged = {layout.GATE: "format: 1\nrules: {verdict_hours: 48}\n"}

    assert "the vulnerability database was 300 hours old" in told(found)
    assert not proven(proof.tree(), now=NOW + dt.timedelta(days=900)).broken
    assert links(proven(proof.tree(changes=aged), now=later)) == ["scan"]
    renewed: dict[str, str | bytes | None] = {**aged, **proof.rescanned(LOW, passed=True, now=later)}
    assert not proven(proof.tree(changes=renewed), now=later).broken


def test_what_a_rescan_found_keeps_out_what_is_new_and_degrades_what_runs() -> None:
    """Of a digest that was deployed here it is told, and nothing is blocked."""
    marked = proof.tree(changes=proof.rescanned(CRITICAL))

    new, running = proven(marked), proven(marked, known=(DIGEST,))

    assert links(new) == ["scan"]
    assert not running.broken
    (line,) = running.degraded
    assert "CVE-1" in line


def _odd_rescan(**changes: object) -> dict[str, str | bytes | None]:
    """A rescan of whoever has CI's key, whose verdict says something else than rescans do."""
    ((path, data),) = proof.rescanned(passed=True).items()
    made = [
        replace(each, predicate={**each.predicate, **changes}) if each.predicate_type == evidence.GATE_VERDICT else each
        for each in evidence.read_envelope(data, path=path).statements
    ]
    return {path: evidence.envelope(made)}


@pytest.mark.parametrize("changes", [{"timeVerified": "soon"}, {"findings": [{}]}, {"timeVerified": "2030-01-01"}])
def test_a_rescan_that_makes_no_sense_does_not_stop_what_runs(changes: dict[str, object]) -> None:
    """It keeps out what is new, as everything that rescans say."""
    odd = proof.tree(changes=_odd_rescan(**changes))

    new, running = proven(odd), proven(odd, known=(DIGEST,))

    assert links(new) == ["scan"]
    assert not running.broken
    assert "1 rescan of it cannot be understood" in running.degraded[0]


def test_a_rescan_from_the_future_makes_no_verdict_young() -> None:
    """Else one commit with CI's key would do for ever."""
    policy = {layout.GATE: "format: 1\nrules: {verdict_hours: 48}\n"}
    changes = {**policy, **_odd_rescan(timeVerified="9999-01-01T00:00:00Z")}

    found = proven(proof.tree(changes=changes), now=NOW + dt.timedelta(hours=60))

    assert links(found) == ["scan"] and "its newest verdict is" in told(found)


def test_only_a_person_lifts_a_mark() -> None:
    """A later rescan that finds nothing does not, and neither does one that CI took away; a waiver does."""
    memory = proven(proof.tree(changes=proof.rescanned(CRITICAL))).memory
    kept = read_memory(write_memory(memory))
    waiver = "- {finding: CVE-1, component: web, reason: not reachable here, owner: ada, ends: 2030-12-31}"

    assert links(proven(proof.tree(changes=proof.rescanned(passed=True)), memory=kept)) == ["scan"]
    assert links(proven(proof.tree(), memory=kept)) == ["scan"]
    assert not proven(proof.tree(changes={layout.WAIVERS: f"format: 1\nwaivers:\n{waiver}\n"}), memory=kept).broken


def test_a_remembered_finding_gets_no_second_grace() -> None:
    """The days run from the first sight, also when CI's key takes the rescan away; before they end it may stay."""
    grace = {layout.GATE: "format: 1\nrules: {grace_days: {CRITICAL: 5}}\n"}
    marked = proof.tree(changes={**grace, **proof.rescanned(replace(CRITICAL, published=""))})
    kept = read_memory(write_memory(proven(marked).memory))

    assert not proven(proof.tree(changes=grace), memory=kept, now=NOW + dt.timedelta(days=4)).broken
    assert links(proven(proof.tree(changes=grace), memory=kept, now=NOW + dt.timedelta(days=6))) == ["scan"]


def test_what_was_remembered_before_its_day_was_blocks_at_once() -> None:
    """The file of an older version has findings alone, all of which had blocked."""
    older = canonical({"passed": [], "marked": {DIGEST: [asdict(CRITICAL)]}})
    grace = {layout.GATE: "format: 1\nrules: {grace_days: {CRITICAL: 5}}\n"}

    assert links(proven(proof.tree(changes=grace), memory=read_memory(older))) == ["scan"]


def test_a_mark_without_a_finding_is_remembered_too() -> None:
    """Such as a licence: taking the rescan away lifts nothing; a waiver does, and evidence that is made anew."""
    (path, data), *_ = proof.rescanned(CRITICAL).items()
    verdicts = [each for each in evidence.read_envelope(data, path=path).statements if "blocking" in each.predicate]
    licence = [replace(each, predicate={**each.predicate, "blocking": ["GPL-3.0@readline"]}) for each in verdicts]
    marked = proven(proof.tree(changes={path: evidence.envelope(licence)}))
    kept = read_memory(write_memory(marked.memory))
    waiver = "- {finding: GPL-3.0@readline, component: web, reason: we bought it, owner: ada, ends: 2030-12-31}"

    assert links(marked) == links(proven(proof.tree(), memory=kept)) == ["scan"]
    assert "GPL-3.0@readline" in told(proven(proof.tree(), memory=kept))
    waived = proof.tree(changes={layout.WAIVERS: f"format: 1\nwaivers:\n{waiver}\n"})
    assert not proven(waived, memory=kept).broken
    later = NOW + dt.timedelta(hours=1)
    assert not proven(proof.tree(file_of(said(now=later))), memory=kept, now=later).broken


def test_no_run_takes_a_mark_away_that_another_has_seen() -> None:
    """Two runs that began with the same memory: what both found is kept, with the earlier day."""
    found, later = replace(CRITICAL, published=""), NOW + dt.timedelta(days=3)
    seen = proven(proof.tree(changes=proof.rescanned(found))).memory
    again = proven(proof.tree(changes=proof.rescanned(found, now=later)), now=later).memory
    clean = proven(proof.tree()).memory

    assert links(proven(proof.tree(), memory=clean | seen)) == links(proven(proof.tree(), memory=seen | clean))
    assert (again | seen).marked[DIGEST].first == seen.marked[DIGEST].first != again.marked[DIGEST].first
    assert {*seen.passed, *clean.passed} == {*(seen | clean).passed}


def test_one_image_of_two_components_needs_both_chains() -> None:
    """Whichever stands first: evidence of the other does not stand in for one that is broken."""
    good = {name: file_of(said(component=name)) for name in ("api", "web")}

    assert not proven(_of_two(good)).broken
    for name in good:
        made = said(component=name)
        failed = replace(made["tests"], predicate={**made["tests"].predicate, "result": "FAILED"})
        found = proven(_of_two({**good, name: file_of(together({**made, "tests": failed}))}))
        assert links(found) == ["tests"], name


def _of_two(proofs: dict[str, bytes]) -> Tree:
    """A repository in which components share an image, each with evidence of its own."""
    files: dict[str, str | bytes | None] = {}
    text = None
    for name, data in proofs.items():
        released = proof.release_of(data, component=name)
        entry = release.read(released[layout.release("dev", "shop")].decode()).components[name]
        text = release.with_component(text, name, entry)
        files |= {path: each for path, each in released.items() if layout.parse_evidence(path)}
    files[layout.release("dev", "shop")] = text
    bindings = proof.tree().text(layout.BINDINGS)
    once = bindings.partition("bindings:\n")[2]
    files[layout.BINDINGS] = bindings + once.replace("component: web", "component: api")
    return proof.tree(changes=files)


def test_a_broken_link_that_no_time_explains_blocks_what_runs_too() -> None:
    """A digest that was deployed here does not excuse evidence that was changed since."""
    assert links(proven(proof.tree(file_of(said(), OTHER_KEY)), known=(DIGEST,))) == ["signature"]


# images ----------------------------------------------------------------------------------------------

POSTGRES = f"docker.io/library/postgres@sha256:{'7' * 64}"


def test_an_image_that_nobody_vouches_for_is_refused_wherever_it_stands() -> None:
    """With the object, its field, and what to do; a pin of its digest lets it pass, in the environments it names."""
    sidecar = Used(POSTGRES, "Deployment/shop/shop", "spec.template.spec.initContainers[0].image")
    entry = f"image: docker.io/library/postgres, digests: [sha256:{'7' * 64}], reason: its maker is trusted"

    found = proven(proof.tree(), USED, sidecar)
    with pytest.raises(Refused, match="initContainers") as caught:
        require_proven(found, environment="dev", commit="c" * 40)

    assert caught.value.rule == "evidence"
    assert f"{POSTGRES} (Deployment/shop/shop" in caught.value.message
    assert layout.IMAGES in caught.value.message
    pinned = {layout.IMAGES: f"format: 1\nthird_party:\n- {{{entry}}}\n"}
    assert not proven(proof.tree(changes=pinned), USED, sidecar).broken
    other = Used(POSTGRES.replace("7", "8"), sidecar.subject, sidecar.place)
    assert links(proven(proof.tree(changes=pinned), other)) == ["image"]


def test_a_digest_of_ours_in_another_repository_proves_nothing() -> None:
    """Whatever the bytes are said to be: the release vouches for a whole name."""
    moved = replace(USED, image=f"registry.example/mirror/web@{DIGEST}")

    assert links(proven(proof.tree(), moved)) == ["image"]


# what is remembered ----------------------------------------------------------------------------------


def test_a_chain_that_held_is_not_looked_at_again_until_something_moves() -> None:
    """Evidence, keys, policy and day are in what is remembered; a broken chain never is."""
    tree = proof.tree()
    memory = proven(tree).memory

    assert len(memory.passed) == 1
    assert proven(tree, memory=memory).memory == memory
    for other in (
        proven(tree, memory=memory, now=NOW + dt.timedelta(days=1)),
        proven(proof.tree(keys=(KEY, OTHER_KEY)), memory=memory),
        proven(proof.tree(changes={layout.GATE: "format: 1\nrules: {unfixed: true}\n"}), memory=memory),
    ):
        assert len(other.memory.passed) == 2
    assert not proven(proof.tree(file_of(said(), None))).memory.passed
    assert read_memory(b"{") == Memory()


def test_the_page_has_every_image_and_the_broken_ones_first() -> None:
    """With who uses it, what vouches for it, and the link."""
    report = evidence_report("dev", proven(proof.tree(), USED, replace(USED, image=POSTGRES)))

    assert report.title == "Images of dev: 2 images, 1 without proof"
    assert [row[0] for row in report.tables[0].rows] == [POSTGRES, example.IMAGE]
    assert report.tables[0].rows[0][3].startswith("refused: image: nothing is released as this in dev")
    assert report.tables[0].rows[1][3] == "holds"


# who may ---------------------------------------------------------------------------------------------


def test_no_commit_takes_away_the_keys_that_judge_it() -> None:
    """The file removed, the entry removed or made `unsigned`: the keys of the commit before still count."""
    old = repository.read(proof.tree()).attesters
    gone = AttestersFile(format=1)
    unsigned = repository.read(proof.tree(changes={layout.ATTESTERS: proof.attesters(unsigned="no signer any more")}))
    rotated = repository.read(proof.tree(keys=(OTHER_KEY,))).attesters

    for new in (None, gone, unsigned.attesters):
        kept = stricter(new, [old])
        assert kept is not None
        assert kept.of("shop") == (old.of("shop") if old else None)
    assert old is not None
    assert rotated is not None
    assert stricter(rotated, [old]) == rotated
    assert stricter(None, [None]) is None


def test_no_commit_takes_away_the_branch_and_the_commit_keys_that_judge_it() -> None:
    """Where the new file has none, those before count once more; others take their place."""
    keys = {"ada": example.PERSON_KEY.rpartition(" ")[0], "ci": example.MACHINE_KEY.rpartition(" ")[0]}

    def declared(**more: Any) -> AttestersFile | None:
        return repository.read(proof.tree(changes={layout.ATTESTERS: proof.attesters(KEY, **more)})).attesters

    ruled, bare = declared(branch="main", commit_keys=[keys["ada"]]), declared()
    other = declared(branch="stable", commit_keys=[keys["ci"]])

    assert stricter(bare, [ruled]) == ruled
    assert stricter(bare, [bare, ruled]) == ruled
    assert stricter(other, [ruled]) == other


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (proof.attesters(KEY, source="other"), "names shop, and no entry here is about it"),
        (proof.attesters(), "give either keys"),
        (proof.attesters(KEY, unsigned="both of them given"), "give either keys"),
        (proof.attesters(KEY).replace("BEGIN PUBLIC", "BEGIN PRIVATE"), "not a public key in PEM"),
    ],
)
def test_a_wrong_declaration_gets_one_clear_error(text: str, words: str) -> None:
    """With the file, and what to give."""
    with pytest.raises(FormatError, match=words) as caught:
        repository.read(proof.tree(changes={layout.ATTESTERS: text}))

    assert caught.value.path == layout.ATTESTERS


def test_a_rule_that_comes_later_degrades_what_runs_and_keeps_out_what_is_new() -> None:
    """A source gets a branch, or keys of its commits: what was released before has neither in its evidence."""
    key = example.PERSON_KEY.rpartition(" ")[0]
    for later in ({"branch": "stable"}, {"commit_keys": [key]}):
        tree = proof.tree(changes={layout.ATTESTERS: proof.attesters(KEY, **later)})

        assert links(proven(tree)) == ["provenance"]
        assert not proven(tree, known=(DIGEST,)).broken
        assert len(proven(tree, known=(DIGEST,)).degraded) == 1
