"""What is there already of a commit's components, found by what their builds read, before anything is built."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from flows.ci.together import all_of
from flows.trail import about
from interlock.ci.build_key import build_key, key_of_tests
from interlock.ci.gate import build_rules
from interlock.ci.outcome import failed
from interlock.ci.reuse import is_told, stale
from interlock.ci.targets import Released, Target, already, open_targets, released_commits
from interlock.errors import InterlockError, Refused
from tasks.ci import images
from tasks.ci.buildx import Via
from tasks.ci.source import relate
from tasks.common import registry

if TYPE_CHECKING:
    from flows.presenter import Presenter
    from interlock.ci.host import BuildKit, CiHost
    from tasks.ci.source import Checkout, Head
    from tasks.common.environment_repository import VerifiedHead
    from tasks.common.registry import Manifest


@dataclass(frozen=True)
class Left:
    """A component that has to be judged, and maybe built."""

    bound: tuple[Target, ...]
    key: str
    """The tag under which an image with the same inputs lies, or will lie."""
    found: Manifest | None
    """What an earlier run pushed there."""
    via: Via | None
    """BuildKit, where the host has it."""
    given: bool = False
    """Whether `found` was built by somebody else, who says so."""
    told: bool = False
    """Whether evidence of what is released says that `found` was built from the same inputs."""


@dataclass(frozen=True)
class Given:
    """An image, by digest, that another builder pushed to where the binding has this component's."""

    component: str
    image: str


@dataclass(frozen=True)
class Plan:
    """What becomes of each component: left to do, or settled without a build."""

    left: Mapping[str, Left]
    settled: Mapping[str, Released]


async def look_up(
    presenter: Presenter,
    host: CiHost,
    head: Head,
    checkout: Checkout,
    *,
    desired: VerifiedHead,
    by_component: Mapping[str, tuple[Target, ...]],
    buildkit: BuildKit | None,
    given: Given | None = None,
) -> Plan:
    """Superseded or Refused when the commit comes too late; a component's own failure settles only that one.

    `buildkit` builds what is not there; without it the daemon's classic builder.

    `given`: this image is judged, whatever was built before, and no other component is looked at.
    """
    if given:
        by_component = {given.component: require_given(given, by_component)}
    everything = tuple(chain.from_iterable(by_component.values()))
    relations = await presenter.step(relate, host, head, released_commits(everything, head.repository))
    left = open_targets(everything, source=head.repository, commit=head.commit, relations=relations)
    names = sorted({each.component for each in left})
    looking = _Looking(presenter, host, head, checkout, desired, buildkit, given)
    found = dict(zip(names, await all_of(looking.up(by_component[name]) for name in names), strict=True))
    for name in sorted(by_component.keys() - found.keys()):
        presenter.say(f"{name}: this commit is released already")
    done = {name: already(bound) for name, bound in by_component.items() if name not in found}
    return Plan(
        left={name: each for name, each in found.items() if isinstance(each, Left)},
        settled=done | {name: each for name, each in found.items() if isinstance(each, Released)},
    )


def require_given(given: Given, by_component: Mapping[str, tuple[Target, ...]]) -> tuple[Target, ...]:
    """Where the image may be released to; Refused when no binding has this component in its repository."""
    bound = by_component.get(given.component)
    if bound is None:
        raise Refused(
            f"{given.component}: no binding gives it to this host",
            rule="unbound",
            hint=f"there are: {', '.join(sorted(by_component)) or 'none'}",
        )
    if given.image.partition("@")[0] != bound[0].image:
        raise Refused(
            f"{given.image} lies elsewhere than the binding of {given.component} says",
            rule="foreign-image",
            hint=f"push it to {bound[0].image}",
        )
    return bound


@dataclass(frozen=True)
class _Looking:
    presenter: Presenter
    host: CiHost
    head: Head
    checkout: Checkout
    desired: VerifiedHead
    buildkit: BuildKit | None
    given: Given | None

    async def up(self, bound: tuple[Target, ...]) -> Left | Released:
        name = bound[0].component
        try:
            with about(name):
                left = await self._left(bound)
        except InterlockError as error:
            self.presenter.say(f"{name}: {error}")
            return failed(bound, error)
        if left.found is None:
            self.presenter.say(f"{name}: nothing was pushed that was built from the same inputs")
            return left
        image = f"{bound[0].image}@{left.found.digest}"
        if reasons := self._stale(bound, image):
            self.presenter.say(f"{name}: {image} {self._known}; judged, as {'; '.join(reasons)}")
            return left
        self.presenter.say(f"{name}: unchanged: {image}, which {self._known}, is released and its evidence holds")
        return already(bound)

    @property
    def _known(self) -> str:
        return "was given" if self.given else "was built from the same inputs"

    async def _left(self, bound: tuple[Target, ...]) -> Left:
        step, host, name, repository = self.presenter.step, self.host, bound[0].component, bound[0].image
        if self.given:
            found = await step(registry.require_image, host.registry, image=self.given.image)
            return Left(bound, "", found, None, given=True)
        recipe = self.checkout.file.components[name]
        rules = build_rules(self.desired.repository.gate, [each.environment for each in bound])
        say = self.presenter.say
        via = _via(host, self.buildkit, source=self.head.repository, repository=repository)
        inputs = await step(
            images.digest_inputs, host.docker, self.checkout.tree, recipe, rules=rules, say=say, via=via
        )
        key = build_key(repository=self.head.repository, component=name, recipe=recipe, inputs=inputs)
        pushed = await step(registry.find_image, host.registry, repository=repository, tag=key)
        image = f"{repository}@{pushed.digest}" if pushed else ""
        return Left(bound, key, pushed, via, told=is_told(self.desired.repository, bound, image=image, key=key))

    def _stale(self, bound: Sequence[Target], image: str) -> tuple[str, ...]:
        now, repository = dt.datetime.now(dt.UTC), self.desired.repository
        tests = key_of_tests(self.checkout.file.components[bound[0].component])
        reasons = {each.environment: stale(repository, each, image=image, tests=tests, now=now) for each in bound}
        return tuple(f"in {environment} {reason}" for environment, reason in reasons.items() if reason)


def _via(host: CiHost, buildkit: BuildKit | None, *, source: str, repository: str) -> Via | None:
    if buildkit is None:
        return None
    cache = repository if buildkit.cache else ""
    return Via(buildkit, host.registry, source, secrets=host.build_secrets.get(source, {}), cache=cache)
