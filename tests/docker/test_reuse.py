"""What an earlier commit built is found by what builds read, on real git, Docker, registry and Trivy."""

from __future__ import annotations

import pytest

from flows.ci.release import ReleaseOutcome, release_order
from interlock.contract import evidence, layout
from interlock.errors import Superseded
from tasks.common.environment_repository import fetch_verified
from tests.docker import components, service
from tests.docker.conftest import Walk
from tests.docker.recorder import Recorder
from tests.docker.test_release import entry, image_tags

JUDGING = {
    "check scanner",
    "scan folder",
    "scan image",
    "run tests",
    "build image",
    "push image",
    "push release commit",
}


async def release(walk: Walk, recorder: Recorder) -> ReleaseOutcome:
    return await release_order(recorder, walk.host, "shop", None)


async def test_only_what_changed_is_built(walk: Walk) -> None:
    """Of three components one is built, judged and released; the others stay as they are, and the run says so."""
    components.bind(walk)
    await release(walk, Recorder())
    before, count = components.released(walk), walk.environments.count()
    second = walk.application.push({"web/shop/new.py": b"NEW = 1\n"})
    recorder = Recorder()

    outcome = await release(walk, recorder)

    after = components.released(walk)
    assert [recorder.steps.count(step) for step in ("build image", "scan image", "run tests")] == [1, 1, 1]
    assert (after["api"], after["job"]) == (before["api"], before["job"])
    assert after["web"].source.commit == second
    assert walk.environments.count() == count + 1
    assert [each.component for each in outcome.written] == ["web"]
    assert sum("unchanged: " in line and "@sha256:" in line for line in recorder.said) == 2
    reused = recorder.report("release").tables[-1].rows
    assert reused == tuple((name, before[name].source.commit[:12], before[name].image) for name in ("api", "job"))


async def test_an_unchanged_tree_is_told_at_once(walk: Walk) -> None:
    """No scan, no build, no commit: what no build reads changes nothing that is released."""
    walk.application.push({".dockerignore": b"docs\n"})
    await release(walk, Recorder())
    count, found = walk.environments.count(), entry(walk)
    walk.application.push({"docs/README.md": b"Hello\n"})
    recorder = Recorder()

    outcome = await release(walk, recorder)

    assert not JUDGING & set(recorder.steps)
    assert str(outcome).endswith("is released already; nothing to do")
    assert (walk.environments.count(), entry(walk)) == (count, found)


async def test_what_was_taken_back_is_not_built_again(walk: Walk) -> None:
    """The image of the first commit is judged anew and released; its release and evidence name the commit that built
    it, and the evidence also the one that releases it.
    """
    first = walk.application.head
    await release(walk, Recorder())
    built = entry(walk)
    second = walk.application.push({"shop/new.py": b"NEW = 1\n"})
    await release(walk, Recorder())
    third = walk.application.push({"shop/new.py": None})
    recorder = Recorder()

    await release(walk, recorder)

    found = entry(walk)
    assert found is not None
    assert built is not None
    assert (found.image, found.source.commit, found.head) == (built.image, first, third)
    assert "build image" not in recorder.steps
    assert {"scan image", "run tests", "scan folder"} <= set(recorder.steps)
    head = fetch_verified.fn(walk.host.environment_repository, state=walk.host.state, since=None)
    path = layout.evidence("dev", "shop", "web", found.image.partition("@")[2])
    (said,) = evidence.read_envelope(head.tree.files[path], path=path).predicates(evidence.PROVENANCE)
    assert said["buildDefinition"]["externalParameters"]["commit"] == first
    internal = said["buildDefinition"]["internalParameters"]
    assert (internal["head"], internal["reused"]) == (third, True)
    assert len(image_tags(walk)) == 2
    again = Recorder()
    await release(walk, again)
    assert not JUDGING & set(again.steps)
    walk.application.rewind(second)
    with pytest.raises(Superseded, match=f"{third[:12]}, which is released to dev, is newer"):
        await release(walk, Recorder())


async def test_other_tests_are_run_on_the_same_image(walk: Walk) -> None:
    """Who changes only the test command gets no new image, but new evidence."""
    text = service.INTERLOCK.replace("timeout_seconds: 60", "timeout_seconds: 61")
    walk.application.push({".dockerignore": b"interlock.yaml\n.dockerignore\n", "interlock.yaml": text.encode()})
    await release(walk, Recorder())
    before = entry(walk)
    text = text.replace("61", "62")
    walk.application.push({"interlock.yaml": text.encode()})
    recorder = Recorder()

    await release(walk, recorder)

    found = entry(walk)
    assert before is not None
    assert found is not None
    assert "build image" not in recorder.steps
    assert "run tests" in recorder.steps
    assert any("it was tested otherwise" in line for line in recorder.said)
    assert found.image == before.image
    assert found.evidence != before.evidence
