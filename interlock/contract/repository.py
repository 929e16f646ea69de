"""An environment repository as one value: every file read strictly, every name checked against the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from interlock.contract import evidence, freshness, layout, protection, sealed, strict_yaml
from interlock.contract.attesters import NO_IMAGES, AttestersFile, ImagesFile, read_attesters, read_images
from interlock.contract.cel import CelError
from interlock.contract.default_rules import DEFAULTS, RESTRICTED
from interlock.contract.freshness import FreshnessFile
from interlock.contract.health import HealthRule, HealthRules
from interlock.contract.kinds import BUILT_IN_GROUPS
from interlock.contract.models import (
    ApplicationFile,
    ApprovalRule,
    Binding,
    BindingsFile,
    EnvironmentFile,
    EnvironmentsFile,
    GateFile,
    HealthFile,
    Recipient,
    ReleasedComponent,
    ReleaseFile,
    RuleEntry,
    RulesFile,
    Signer,
    SignersFile,
    Waiver,
    WaiversFile,
    is_name,
)
from interlock.contract.protection import STRICT, ProtectionFile
from interlock.contract.rules import VARIABLES, Rule
from interlock.contract.sops import SealedFile
from interlock.contract.tree import Tree
from interlock.contract.workloads import Places
from interlock.errors import FormatError

TEMPLATE_SUFFIX = ".yaml.j2"


@dataclass(frozen=True)
class Application:
    """One application in one environment."""

    name: str
    template: str | None
    """The template set's name; None when it has plain manifests only."""
    values: dict[str, Any]
    """The shared values with the environment's merged over them."""
    release: ReleaseFile | None
    manifests: Mapping[str, str]
    """Path and text of each plain manifest."""
    components: tuple[str, ...]
    """What the bindings let be released here."""
    awaiting: tuple[str, ...]
    """The components not released yet: while there are any, the template renders nothing."""
    secrets: SealedFile | None = None
    """Its sealed values."""


@dataclass(frozen=True)
class Environment:
    name: str
    id: str
    cluster: str
    namespaces: tuple[str, ...]
    drift: Literal["observe", "undo"]
    health_seconds: int
    no_progress_seconds: int | None
    on_error: Literal["application", "environment"]
    cluster_kinds: tuple[str, ...]
    """What it may have beside its namespaces, such as CustomResourceDefinition."""
    applications: Mapping[str, Application]
    after: Mapping[str, tuple[str, ...]]
    """What each application waits for; without a cycle. Who is not named waits for nobody."""
    file: EnvironmentFile
    """What environment.yaml says beside that."""
    kubernetes: str = ""
    """The minor version whose schemas count before the cluster is asked; empty for the newest that are known."""

    @property
    def removed(self) -> bool:
        """Whether it has a tombstone: what it owns is taken away."""
        return self.file.state == "removed"


@dataclass(frozen=True)
class Repository:
    commit: str
    id: str
    signers: tuple[Signer, ...]
    bindings: tuple[Binding, ...]
    approvals: Mapping[str, ApprovalRule]
    gate: GateFile
    waivers: tuple[Waiver, ...]
    health: HealthRules
    rules: tuple[Rule, ...]
    environments: Mapping[str, Environment]
    tree: Tree
    attesters: AttestersFile | None = None
    """None: evidence is not asked for by whom it is signed."""
    images: ImagesFile = NO_IMAGES
    protection: ProtectionFile = STRICT
    freshness: FreshnessFile | None = None
    """None: nobody has to state what the newest commit is."""


def read(tree: Tree) -> Repository:
    """The whole repository, or the first FormatError in it."""
    identity = _read_identity(tree)
    trust, bindings = read_trust(tree)
    names = _environment_names(tree)
    _check_bound_environments(tree, bindings, names)
    _check_applications(tree)
    recipients = sealed.read_recipients(tree, names)
    environments = {name: _read_environment(tree, name, bindings, identity, recipients) for name in names}
    _check_environments(environments.values())
    return Repository(
        commit=tree.commit,
        id=identity.id,
        signers=trust.signers,
        bindings=bindings,
        approvals=read_approvals(tree, names),
        gate=_read_gate(tree, names),
        waivers=read_waivers(tree, bindings),
        health=read_health(tree),
        rules=read_rules(tree, names),
        environments=environments,
        tree=tree,
        attesters=read_attesters(tree, bindings),
        images=read_images(tree, names),
        protection=protection.read(tree),
        freshness=_read_freshness(tree, trust.signers),
    )


def _read_identity(tree: Tree) -> EnvironmentsFile:
    if layout.ENVIRONMENTS not in tree.files:
        hint = "make one with `interlock init environment`"
        raise FormatError("the file is missing: this is no environment repository", path=layout.ENVIRONMENTS, hint=hint)
    return strict_yaml.parse(tree.text(layout.ENVIRONMENTS), EnvironmentsFile, path=layout.ENVIRONMENTS)


def _read_freshness(tree: Tree, signers: tuple[Signer, ...]) -> FreshnessFile | None:
    found = freshness.read(tree)
    known = {each.name for each in signers}
    for index, name in enumerate(found.signers if found else ()):
        if name not in known:
            document = strict_yaml.load(tree.text(layout.FRESHNESS), path=layout.FRESHNESS)
            hint = f"{layout.SIGNERS} names {', '.join(sorted(known))}"
            raise document.error(f"no signer is named {name!r}", ("signers", index), hint=hint)
    return found


# trust -----------------------------------------------------------------------------------------------


def read_trust(tree: Tree) -> tuple[SignersFile, tuple[Binding, ...]]:
    """Who may sign what, and what may be released where."""
    file = _read_signers(tree)
    document = strict_yaml.load(tree.text(layout.BINDINGS), path=layout.BINDINGS)
    bindings = strict_yaml.validate(document, BindingsFile).bindings
    names = {each.name for each in file.signers}
    places: set[tuple[str, str, str]] = set()
    for index, binding in enumerate(bindings):
        if binding.signer not in names:
            hint = f"add it to {layout.SIGNERS}"
            raise document.error(f"no signer is named {binding.signer!r}", ("bindings", index, "signer"), hint=hint)
        bound = {(environment, binding.application, binding.component) for environment in binding.environments}
        if taken := sorted(places & bound):
            message = f"{taken[0][2]} of {taken[0][1]} in {taken[0][0]} is bound twice"
            raise document.error(message, ("bindings", index), hint="one source writes a component of an environment")
        places |= bound
    return file, bindings


def _read_signers(tree: Tree) -> SignersFile:
    document = strict_yaml.load(tree.text(layout.SIGNERS), path=layout.SIGNERS)
    file = strict_yaml.validate(document, SignersFile)
    seen: set[str] = set()
    for index, signer in enumerate(file.signers):
        named = [("key" if signer.key else "keys", key) for key in map(_bare, signer.all_keys)]
        for field, text in (("name", signer.name), *named):
            if text in seen:
                message = f"the {field.rstrip('s')} {text} belongs to another signer above"
                raise document.error(message, ("signers", index, field), hint="one key, one signer")
            seen.add(text)
        for each in signer.accounts:
            if (account := f"{each.id} on {each.forge.rstrip('/')}") in seen:
                message = f"the account {account} ({each.name}) is named twice"
                raise document.error(message, ("signers", index, "accounts"), hint="one account, one signer")
            seen.add(account)
    for index, ended in enumerate(file.ended):
        if _bare(ended.key) in seen:
            message = f"the key {_bare(ended.key)} is a signer's, or ended twice"
            raise document.error(
                message, ("ended", index, "key"), hint="a key that ended never signs again: make another"
            )
        seen.add(_bare(ended.key))
    return file


def _bare(key: str) -> str:
    """Type and key, without the comment; a block as it is."""
    return key.strip() if "\n" in key else " ".join(key.split()[:2])


def read_approvals(tree: Tree, environments: Collection[str] | None = None) -> Mapping[str, ApprovalRule]:
    """How many have to agree to a change of which environment; an error when so many could never be found.

    Without `environments` their names are not looked at, as for an older commit.
    """
    document = strict_yaml.load(tree.text(layout.SIGNERS), path=layout.SIGNERS)
    file = strict_yaml.validate(document, SignersFile)
    people = {each.name for each in file.signers if not each.machine}
    pool = {each.name for each in file.signers if each.approves} & people
    for name, rule in file.approvals.items():
        where: tuple[str, ...] = ("approvals", name)
        if environments is not None and name not in environments:
            raise _unknown_environment(document, name, where)
        for each in rule.approvers:
            if each not in pool:
                hint = "approvers are people with `approves: true` among the signers"
                raise document.error(f"{each!r} is not in the approvers' pool", (*where, "approvers"), hint=hint)
        for each in rule.signers:
            if each not in {signer.name for signer in file.signers}:
                raise document.error(f"no signer is named {each!r}", (*where, "signers"))
        if len(set(rule.approvers) or pool) < rule.required:
            found = ", ".join(sorted(set(rule.approvers) or pool)) or "nobody"
            raise document.error(f"{rule.required} have to agree, and there is only {found}", (*where, "required"))
        if rule.signers and not people & set(rule.signers):
            raise document.error("only machines may change it", (*where, "signers"), hint="name a person as well")
    return file.approvals


def _check_bound_environments(tree: Tree, bindings: tuple[Binding, ...], names: tuple[str, ...]) -> None:
    document = strict_yaml.load(tree.text(layout.BINDINGS), path=layout.BINDINGS)
    for index, binding in enumerate(bindings):
        for place, environment in enumerate(binding.environments):
            if environment not in names:
                raise _unknown_environment(document, environment, ("bindings", index, "environments", place))


def _unknown_environment(document: strict_yaml.Document, name: str, where: strict_yaml.Path) -> FormatError:
    return document.error(f"there is no environment {name!r}", where, hint=f"add {layout.environment(name)}")


# policy ----------------------------------------------------------------------------------------------


def _read_gate(tree: Tree, names: tuple[str, ...]) -> GateFile:
    document = strict_yaml.load(tree.text(layout.GATE), path=layout.GATE)
    gate = strict_yaml.validate(document, GateFile)
    for name in gate.environments:
        if name not in names:
            raise _unknown_environment(document, name, ("environments", name))
    return gate


def read_waivers(tree: Tree, bindings: tuple[Binding, ...] | None = None) -> tuple[Waiver, ...]:
    """None when the file is missing. Without `bindings` components are not looked up, as for an older commit."""
    if layout.WAIVERS not in tree.files:
        return ()
    document = strict_yaml.load(tree.text(layout.WAIVERS), path=layout.WAIVERS)
    waivers = strict_yaml.validate(document, WaiversFile).waivers
    known = {"*", *(each.component for each in bindings or ())}
    for index, waiver in enumerate(waivers):
        if bindings is not None and waiver.component not in known:
            hint = f"the bindings name {', '.join(sorted(known - {'*'})) or 'none'}"
            message = f"no component is named {waiver.component!r}"
            raise document.error(message, ("waivers", index, "component"), hint=hint)
    return waivers


def read_health(tree: Tree) -> HealthRules:
    """None of them when the file is missing. Every expression is compiled: one that is no CEL is found here."""
    if layout.HEALTH not in tree.files:
        return HealthRules()
    document = strict_yaml.load(tree.text(layout.HEALTH), path=layout.HEALTH)
    found: dict[tuple[str, str], HealthRule] = {}
    for index, entry in enumerate(strict_yaml.validate(document, HealthFile).rules):
        rule = HealthRule(**entry.model_dump())
        _check_health_rule(document, index, rule)
        if other := found.get((rule.group, rule.kind)):
            message = f"{rule.kind} of {rule.group} has the rule {other.name} already"
            raise document.error(message, ("rules", index), hint="join the two")
        found[(rule.group, rule.kind)] = rule
    return HealthRules(tuple(found.values()))


def _check_health_rule(document: strict_yaml.Document, index: int, rule: HealthRule) -> None:
    if rule.group in BUILT_IN_GROUPS:
        hint = "built-in kinds have rules of their own; these here are for custom resources"
        raise document.error(f"{rule.group} is a built-in group", ("rules", index, "group"), hint=hint)
    for field, expects in (("healthy", "BOOL"), ("failed", "BOOL"), ("message", "STRING")):
        try:
            program = rule.program(field)
        except CelError as error:
            raise document.error(f"{field} is no CEL: {error}", ("rules", index, field), hint=_CEL_HINT) from None
        if program and program.answers not in {expects, "DYN"}:
            message = f"{field} gives {program.answers}, and must give {expects}"
            raise document.error(message, ("rules", index, field), hint=_CEL_HINT)


def read_rules(tree: Tree, environments: Collection[str] | None = None) -> tuple[Rule, ...]:
    """What manifests are judged by: the default rules when the file is missing. Every expression is compiled.

    Without `environments` the names that rules match are not looked at, as for an older commit.
    """
    if layout.RULES not in tree.files:
        return DEFAULTS
    document = strict_yaml.load(tree.text(layout.RULES), path=layout.RULES)
    file = strict_yaml.validate(document, RulesFile)
    found = {rule.name: rule for rule in _built_in_rules(document, file, environments)}
    seen: set[str] = set()
    for index, entry in enumerate(file.rules):
        where = ("rules", index)
        if entry.name in seen:
            raise document.error(f"there are two rules {entry.name}", (*where, "name"), hint="name one of them anew")
        seen.add(entry.name)
        _require_environments(document, entry.match.environments, environments, (*where, "match", "environments"))
        found[entry.name] = _checked_rule(document, where, entry)
    places = _pod_places(document, file)
    return tuple(replace(rule, places=places) for rule in found.values())


def _built_in_rules(
    document: strict_yaml.Document, file: RulesFile, environments: Collection[str] | None
) -> tuple[Rule, ...]:
    """The default rules, and the restricted ones where the file asks for them."""
    chosen = file.restricted
    if chosen and not file.defaults:
        hint = "restricted is the default rules and more: soften single ones by a rule of the same name"
        raise document.error("restricted cannot be without the default rules", ("restricted",), hint=hint)
    if isinstance(chosen, tuple):
        _require_environments(document, chosen, environments, ("restricted",))
    names = chosen if isinstance(chosen, tuple) else ()
    restricted = tuple(replace(rule, environments=names) for rule in RESTRICTED) if chosen else ()
    return (*(DEFAULTS if file.defaults else ()), *restricted)


def _require_environments(
    document: strict_yaml.Document, names: Iterable[str], known: Collection[str] | None, where: strict_yaml.Path
) -> None:
    for place, name in enumerate(names):
        if known is not None and name not in known:
            raise _unknown_environment(document, name, (*where, place))


def _pod_places(document: strict_yaml.Document, file: RulesFile) -> Places:
    for index, each in enumerate(file.pods):
        if each.kind.partition(".")[2] in BUILT_IN_GROUPS:
            hint = "where built-in kinds have their pods is known; these here are for custom kinds"
            raise document.error(f"{each.kind} is a built-in kind", ("pods", index, "kind"), hint=hint)
    return tuple((each.kind, each.path) for each in file.pods)


def _checked_rule(document: strict_yaml.Document, where: strict_yaml.Path, entry: RuleEntry) -> Rule:
    match = entry.match
    rule = Rule(**entry.model_dump(exclude={"match"}), **match.model_dump())
    for field, expects in (("expression", "BOOL"), ("message_expression", "STRING")):
        try:
            program = rule.program(field)
        except CelError as error:
            hint = f"the variables are {', '.join(VARIABLES)}; such as: containers.all(c, has(c.livenessProbe))"
            raise document.error(f"{field} is no CEL: {error}", (*where, field), hint=hint) from None
        if program and program.answers not in {expects, "DYN"}:
            raise document.error(f"{field} gives {program.answers}, and must give {expects}", (*where, field))
    return rule


_CEL_HINT = 'such as: object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")'


# environments ----------------------------------------------------------------------------------------


def _environment_names(tree: Tree) -> tuple[str, ...]:
    """The folders below environments/; anything else there is refused."""
    for path in tree.under("environments"):
        parts = path.split("/")
        known = path == layout.environment(parts[1]) or layout.is_application_file(path)
        if not known:
            raise _stray(path)
        _check_names(path, path.split("/")[1:-1][:2])
    return tuple(sorted({path.split("/")[1] for path in tree.under("environments")}))


def _check_applications(tree: Tree) -> None:
    for path in tree.under("applications"):
        name = path.split("/")[1]
        if path not in {layout.application(name), layout.shared_values(name)}:
            raise _stray(path)
        _check_names(path, [name])


def _check_names(path: str, folders: list[str]) -> None:
    for name in folders:
        if not is_name(name):
            hint = "use lower-case letters, digits and `-`, at most 63"
            raise FormatError(f"a folder cannot be named {name!r}", path=path, hint=hint)


def _stray(path: str) -> FormatError:
    return FormatError("format 1 knows no such file", path=path, hint="remove it, or mend its name")


def _read_environment(
    tree: Tree,
    name: str,
    bindings: tuple[Binding, ...],
    shared: EnvironmentsFile,
    recipients: tuple[Recipient, ...],
) -> Environment:
    path = layout.environment(name)
    document = strict_yaml.load(tree.text(path), path=path)
    file = strict_yaml.validate(document, EnvironmentFile)
    folder = f"environments/{name}"
    # What CI writes makes no application: whoever holds its key could bring one back that people removed.
    people = [each for each in tree.under(folder) if each != path and not layout.is_machines(each)]
    applications = sorted({each.split("/")[2] for each in people})
    if applications and file.state == "removed":
        message = f"the environment is removed, and still has {', '.join(applications)}"
        raise document.error(message, ("state",), hint=f"remove the folders in {folder}/, or this line")
    mine = tuple(each for each in bindings if name in each.environments)
    return Environment(
        name=name,
        id=file.id,
        cluster=file.cluster,
        kubernetes=file.kubernetes or shared.kubernetes or "",
        namespaces=file.namespaces,
        drift=file.drift,
        health_seconds=file.health_seconds,
        no_progress_seconds=file.no_progress_seconds,
        on_error=file.on_error,
        cluster_kinds=file.cluster_kinds,
        after=_read_order(document, file, applications),
        applications={
            each: _read_application(
                tree,
                name,
                each,
                mine,
                sealed.read_sealed(tree, name, each, repository_id=shared.id, recipients=recipients),
            )
            for each in applications
        },
        file=file,
    )


def _read_order(
    document: strict_yaml.Document, file: EnvironmentFile, applications: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """What each application waits for. FormatError for a name that is no application here, and for a cycle."""
    after = {name: each.after for name, each in sorted(file.order.items())}
    for name, others in after.items():
        _require_application(document, name, applications, ("order", name))
        for place, other in enumerate(others):
            _require_application(document, other, applications, ("order", name, "after", place))
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        cycle = error.args[1][::-1]  # each is waited for by the next one there
        message = f"applications wait for each other: {' → '.join(cycle)}"
        raise document.error(message, ("order", cycle[0]), hint="take one `after` out of the circle") from None
    return after


def _require_application(
    document: strict_yaml.Document, name: str, applications: Collection[str], where: strict_yaml.Path
) -> None:
    if name not in applications:
        hint = f"it has: {', '.join(applications) or 'none'}"
        raise document.error(f"this environment has no application {name!r}", where, hint=hint)


def _check_environments(environments: Iterable[Environment]) -> None:
    """No two share an id, or a namespace of a cluster; what a removed one had may be another's at once."""
    owners: dict[tuple[str, str], str] = {}
    for each in environments:
        spaces = () if each.removed else each.namespaces
        claims = [("id", each.id), *((f"cluster {each.cluster}, namespace", name) for name in spaces)]
        for claim in claims:
            if claim in owners:
                message = f"{' '.join(claim)} belongs to {owners[claim]} already"
                raise FormatError(message, path=layout.environment(each.name), hint="choose another one")
            owners[claim] = each.name


# applications ----------------------------------------------------------------------------------------


def _read_application(
    tree: Tree, environment: str, name: str, bindings: tuple[Binding, ...], secrets: SealedFile | None
) -> Application:
    mine = {each.component: each for each in bindings if each.application == name}
    template = _read_template(tree, environment, name)
    released = _read_release(tree, environment, name, mine)
    components = tuple(sorted(mine))
    missing = tuple(each for each in components if released is None or each not in released.components)
    return Application(
        name=name,
        template=template,
        values=merge(
            _read_values(tree, layout.shared_values(name)), _read_values(tree, layout.values(environment, name))
        ),
        release=released,
        manifests={path: tree.text(path) for path in tree.under(layout.manifests(environment, name))},
        components=components,
        awaiting=missing if template else (),
        secrets=secrets,
    )


def _read_template(tree: Tree, environment: str, name: str) -> str | None:
    path = layout.application(name)
    if path not in tree.files:
        if tree.under(layout.manifests(environment, name)):
            return None
        hint = f"add it, or plain manifests under {layout.manifests(environment, name)}/"
        raise FormatError(f"the file is missing, so nothing says how {name} is rendered", path=path, hint=hint)
    document = strict_yaml.load(tree.text(path), path=path)
    template = strict_yaml.validate(document, ApplicationFile).template
    if not any(each.endswith(TEMPLATE_SUFFIX) for each in tree.under(layout.templates(template))):
        known = sorted({path.split("/")[1] for path in tree.under("templates") if path.endswith(TEMPLATE_SUFFIX)})
        hint = f"add a file that ends in {TEMPLATE_SUFFIX} there, or name one that has: {', '.join(known) or 'none'}"
        raise document.error(f"{layout.templates(template)}/ has no template", ("template",), hint=hint)
    return template


def _read_values(tree: Tree, path: str) -> dict[str, Any]:
    """A values file's mapping; an empty one when the file is missing or empty."""
    if path not in tree.files:
        return {}
    document = strict_yaml.load(tree.text(path), path=path)
    if not isinstance(document.value, dict | None):
        raise document.error("must be a mapping from names to values", ())
    return document.value or {}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge; everything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _read_release(tree: Tree, environment: str, name: str, bindings: Mapping[str, Binding]) -> ReleaseFile | None:
    path = layout.release(environment, name)
    if path not in tree.files:
        return None
    document = strict_yaml.load(tree.text(path), path=path)
    file = strict_yaml.validate(document, ReleaseFile)
    for component, entry in file.components.items():
        where = ("components", component)
        if component not in bindings:
            hint = f"{layout.BINDINGS} must give it first"
            raise document.error(f"{component} of {name} is not bound to {environment}", where, hint=hint)
        _check_bound(document, where, entry, bindings[component])
        evidence_path = layout.evidence(environment, name, component, entry.image.partition("@")[2])
        _check_evidence(tree, evidence_path, document, where, entry)
    return file


def _check_bound(
    document: strict_yaml.Document, where: strict_yaml.Path, entry: ReleasedComponent, binding: Binding
) -> None:
    image = entry.image.partition("@")[0]
    if image != binding.image:
        message = f"the image is of {image}, but its binding gives {binding.image}"
        raise document.error(message, (*where, "image"))
    if entry.source.repository != binding.source:
        message = f"the source is {entry.source.repository}, but its binding gives {binding.source}"
        raise document.error(message, (*where, "source", "repository"))


def _check_evidence(
    tree: Tree, path: str, document: strict_yaml.Document, where: strict_yaml.Path, entry: ReleasedComponent
) -> None:
    """The file must be there, have the digest that the release names, and be about its image and source."""
    if path not in tree.files:
        raise document.error(f"the evidence {path} is missing", where, hint="it comes in the same commit as the entry")
    found = evidence.read_envelope(tree.files[path], path=path)
    if found.digest != entry.evidence:
        message = f"the evidence {path} has the digest {found.digest}, the release names another"
        raise document.error(message, (*where, "evidence"), hint="only CI writes it, with the release")
    source = entry.source
    evidence.require_about(
        found,
        image=entry.image,
        repository=source.repository,
        commit=source.commit,
        component=str(where[-1]),
        path=path,
    )
