"""The environment repository's and the application repository's files, format 1, as models.

Unknown fields are errors everywhere. `interlock.contract.repository` reads them from a Tree.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from interlock.contract import field_path, kinds

_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_REPOSITORY = r"^[A-Za-z0-9][-A-Za-z0-9_.]*(/[A-Za-z0-9][-A-Za-z0-9_.]*)*$"
_COMMIT = r"^[0-9a-f]{40}$"
_DIGEST = r"^sha256:[0-9a-f]{64}$"
_IMAGE = r"^[a-z0-9.\-]+(:[0-9]+)?(/[a-z0-9._\-]+)+@sha256:[0-9a-f]{64}$"
_IMAGE_REPOSITORY = r"^[a-z0-9.\-]+(:[0-9]+)?(/[a-z0-9._\-]+)+$"
_KEY = (
    r"^((ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/=]+( .*)?"
    r"|-----BEGIN PGP PUBLIC KEY BLOCK-----\n[A-Za-z0-9+/=:.,()@<> \n-]+-----END PGP PUBLIC KEY BLOCK-----\n?)$"
)
_AGE = r"^age1[02-9ac-hj-np-z]{58}$"
_STABLE_ID = r"^[0-9a-f]{12}$"
_NAME_OR_STAR = r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$"
_MINOR = r"^1\.[1-9][0-9]{0,2}$"
_REPORT = r"^/[^\0]*\.xml$"
_GROUP_OR_END = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"
_KIND_OR_STAR = r"^(\*|[A-Z][A-Za-z0-9]{0,62})$"
_KIND = r"^[A-Z][A-Za-z0-9]{0,62}(\.[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
_CUSTOM_KIND = r"^[A-Z][A-Za-z0-9]{0,62}\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"
_UID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_CHANGES = r"^[0-9a-f]{16}$"

MEANINGS = {
    _NAME: "a name (lower-case letters, digits and `-`, at most 63)",
    _REPOSITORY: "a repository's name such as shop or acme/shop",
    _COMMIT: "a full commit id (40 hex digits)",
    _DIGEST: "a digest (sha256: and 64 hex digits)",
    _IMAGE: "an image by digest (registry/repository@sha256:…); tags are not allowed",
    _IMAGE_REPOSITORY: "an image repository (registry/repository, without tag and digest)",
    _KEY: "an SSH public key (ssh-ed25519 AAAA…), nor an OpenPGP one (-----BEGIN PGP PUBLIC KEY BLOCK-----)",
    _AGE: "an age recipient (age1…, as `interlock secrets keygen` prints it)",
    _STABLE_ID: "an id (12 hex digits)",
    _NAME_OR_STAR: "a component's name or *",
    _MINOR: 'a minor version of Kubernetes such as "1.37", in quotes',
    _REPORT: "an absolute path that ends in .xml",
    _GROUP_OR_END: "an API group with a dot in it, or `*.` and the end of one",
    _KIND_OR_STAR: "a kind such as Bucket, or *",
    _KIND: "a kind such as ConfigMap, or Certificate.cert-manager.io with its group",
    _CUSTOM_KIND: "a custom kind with its group, such as Rollout.argoproj.io",
    _UID: "an object's UID, as the plan shows it",
    _CHANGES: "the mark of a plan's changes (16 hex digits), as the plan shows it",
}
"""What a text must be, by its pattern, in words that finish the sentence "… is not"."""


def is_name(text: str) -> bool:
    """Whether a folder may be named so: what `Name` asks of a field."""
    return re.fullmatch(_NAME.removesuffix("$"), text) is not None


Name = Annotated[str, StringConstraints(pattern=_NAME)]
"""A DNS label: environments, applications, components, namespaces, clusters."""
RepositoryName = Annotated[str, StringConstraints(pattern=_REPOSITORY, max_length=200)]
"""A source repository's name on its host, such as `shop` or `acme/shop`."""
CommitId = Annotated[str, StringConstraints(pattern=_COMMIT)]
Digest = Annotated[str, StringConstraints(pattern=_DIGEST)]
Image = Annotated[str, StringConstraints(pattern=_IMAGE, max_length=500)]
"""An image by digest: registry, repository, `@sha256:…`; never a tag."""
ImageRepository = Annotated[str, StringConstraints(pattern=_IMAGE_REPOSITORY, max_length=400)]
PublicKey = Annotated[str, StringConstraints(pattern=_KEY, max_length=100_000)]
"""One line of SSH, or an armored block of OpenPGP."""
AgeRecipient = Annotated[str, StringConstraints(pattern=_AGE)]
"""The public half of an age identity."""
StableId = Annotated[str, StringConstraints(pattern=_STABLE_ID)]
"""Made once by `interlock init`, never changed; names objects in clusters, so that a renamed environment keeps them."""
KindName = Annotated[str, StringConstraints(pattern=_KIND)]
"""`ConfigMap`, `Deployment.apps`: as KEP-3659 writes group and kind."""
Uid = Annotated[str, StringConstraints(pattern=_UID)]
Reason = Annotated[str, StringConstraints(min_length=10, max_length=1000)]
"""Why, for whoever reads the commit later."""
Severity = Literal["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
KubernetesMinor = Annotated[str, StringConstraints(pattern=_MINOR)]
ForgeUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=1000)]
AccountName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(\[bot\])?$", max_length=255)]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=300)]
"""A path pattern: `*` stays within a folder, `**` does not."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(Model):
    format: Literal[1]


# environment repository ------------------------------------------------------------------------------


class EnvironmentsFile(File):
    """environments.yaml"""

    id: StableId
    kubernetes: KubernetesMinor | None = None
    """Whose schemas manifests are held against before a cluster is asked; without it, the newest that are known."""


def _written_day(value: object) -> object:
    """pydantic knows many spellings of a date, numbers among them; people must read the one that was meant."""
    if isinstance(value, dt.date) or (isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)):
        return value
    raise ValueError(f"{value!r} is not a day such as 2030-12-31")


Day = Annotated[dt.date, Field(strict=False), BeforeValidator(_written_day)]
"""A day in UTC, as ISO 8601 writes it."""


class Account(Model):
    """Somebody on a forge: by name, and by the number that nobody else gets when the name is given up."""

    forge: ForgeUrl
    """Of its API, as cd.yaml has it."""
    name: AccountName
    id: Annotated[int, Field(ge=1)]


class Signer(Model):
    """Who may write what. A path is writable when one of `writes` matches it."""

    name: Name
    key: PublicKey | None = None
    keys: tuple[PublicKey, ...] = ()
    """Instead of `key`, for whoever has several."""
    writes: tuple[Glob, ...]
    machine: bool = False
    forge: ForgeUrl | None = None
    """Of its API, for a forge's own key: of what it signs only squashed requests pass, whose reviews vouch for them."""
    approves: bool = False
    """In the approvers' pool: may sign a recovery commit, and approve what environments wait for."""
    until: Day | None = None
    """The last day, in UTC, on which a commit of theirs is accepted that was not before."""
    accounts: tuple[Account, ...] = ()
    """Theirs on forges: by these a review is known to be theirs, or a request."""

    @model_validator(mode="after")
    def has_keys_in_one_place(self) -> Self:
        if bool(self.key) == bool(self.keys):
            raise ValueError("give either `key` or `keys`")
        return self

    @model_validator(mode="after")
    def forge_is_a_machine(self) -> Self:
        if self.forge and (self.approves or not self.machine):
            raise ValueError("a forge is a machine, and approves nothing: `machine: true` without `approves`")
        return self

    @property
    def all_keys(self) -> tuple[str, ...]:
        return (self.key,) if self.key else self.keys


class EndedKey(Model):
    """A key that signs nothing more. What it signed up to one commit, that commit included, stays trusted.

    What came after it: `retired`, for who has verified it already; `compromised`, for nobody.
    """

    name: Name
    """Whose it was."""
    key: PublicKey
    retired: CommitId | None = None
    compromised: CommitId | None = None

    @model_validator(mode="after")
    def ended_in_one_way(self) -> Self:
        if bool(self.retired) == bool(self.compromised):
            raise ValueError("give either `retired` or `compromised`: the last commit up to which the key is believed")
        return self

    @property
    def believed_to(self) -> str:
        return self.retired or self.compromised or ""


class ApprovalRule(Model):
    """Who has to agree before an environment is changed, whatever path a change of it stands under."""

    required: int = Field(default=1, ge=0, le=20)
    """How many people who have not made the change themselves."""
    approvers: tuple[Name, ...] = ()
    """Of the approvers' pool; all of it when nobody is named."""
    signers: tuple[Name, ...] = ()
    """Who may change it: what anybody else signs needs the approval of one of them. Everybody when nobody is named."""
    hours: int = Field(default=168, ge=1, le=8760)
    """The longest that an approval may last."""
    reviews: bool = False
    """Whether reviews on the forge count too, where CD's host asks it for them: then the forge is believed."""


class SignersFile(File):
    """trust/signers.yaml"""

    signers: tuple[Signer, ...] = Field(min_length=1)
    ended: tuple[EndedKey, ...] = ()
    approvals: dict[Name, ApprovalRule] = {}
    """By environment; one that is not named waits for nobody."""


class Binding(Model):
    """One component of one source repository may be released to these environments, under this image repository."""

    source: RepositoryName
    component: Name
    application: Name
    environments: tuple[Name, ...] = Field(min_length=1)
    image: ImageRepository
    signer: Name


class BindingsFile(File):
    """trust/bindings.yaml"""

    bindings: tuple[Binding, ...] = ()


class Recipient(Model):
    """Who can open what is sealed for some environments: a CD host, or a person."""

    name: Name
    recipient: AgeRecipient
    environments: tuple[Name, ...] = Field(min_length=1)


class RecipientsFile(File):
    """trust/recipients.yaml"""

    recipients: tuple[Recipient, ...] = ()


Licence = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+*-]+$", max_length=80)]
"""An SPDX identifier, in which `*` stands for anything: `AGPL-3.0-only`, `GPL-*`."""


class LicenceRules(Model):
    """Which licences the packages of an image may have. Of alternatives (`OR`) one must be allowed."""

    denied: tuple[Licence, ...] = ()
    allowed: tuple[Licence, ...] = ()
    """When any is named, every other licence blocks too."""
    unknown: bool = True
    """Whether a package may pass whose licence the scanner does not know."""


Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?][A-Za-z0-9._/:@*?%&=+~-]*$", max_length=300)]


class BuildRules(Model):
    """What a build may take from elsewhere, as patterns in which `*` stands for anything.

    An image's name has its registry (`docker.io/library/python`), and matches with or without its tag.
    """

    images: tuple[Pattern, ...] | None = None
    """What FROM, COPY --from and RUN --mount=from may name. None: any image."""
    frontends: tuple[Pattern, ...] = ()
    """What `# syntax=` may name: a program that decides what is built. Only BuildKit runs one."""
    addresses: tuple[Pattern, ...] = ()
    """What ADD --checksum may fetch. Only BuildKit knows checksums."""
    arguments: tuple[Pattern, ...] | None = None
    """Which of a Dockerfile's ARGs an interlock.yaml may set. None: any but the builder's own."""


class GateRules(Model):
    """What blocks. A finding of a listed severity blocks; secrets always do."""

    vulnerabilities: tuple[Severity, ...] = ("CRITICAL", "HIGH")
    unfixed: bool = False
    """Whether a vulnerability without a fixed version blocks too."""
    misconfigurations: tuple[Severity, ...] = ("CRITICAL", "HIGH")
    code: tuple[Severity, ...] = ("CRITICAL", "HIGH")
    """Of what the analysis of the application's own source code finds."""
    licences: LicenceRules | None = None
    """None: licences are not looked at."""
    unassessable: bool = False
    """Whether an image in which the scanner knows neither system nor packages may pass."""
    database_hours: int = Field(default=168, ge=1, le=8760)
    """Oldest vulnerability database that a verdict may rest on, in hours."""
    grace_days: dict[Severity, Annotated[int, Field(ge=0, le=365)]] = {}
    """How many days a vulnerability may pass from the day on which the environment repository first knew of it."""
    build: BuildRules = BuildRules()
    verdict_hours: int | None = Field(default=None, ge=1, le=8760)
    """Oldest verdict on what is released, in hours; without it none is too old. Rescans renew verdicts."""


class GateFile(File):
    """policy/gate.yaml. An environment's own rules replace the shared ones as a whole."""

    rules: GateRules = GateRules()
    environments: dict[Name, GateRules] = {}


class Waiver(Model):
    """One finding that may pass, until a day. `component` may be `*`."""

    finding: Annotated[str, StringConstraints(min_length=3, max_length=200)]
    component: Annotated[str, StringConstraints(pattern=_NAME_OR_STAR)]
    reason: Reason
    owner: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    ends: Day
    """The last day on which it counts."""


class WaiversFile(File):
    """policy/waivers.yaml"""

    waivers: tuple[Waiver, ...] = ()


class HealthRuleEntry(Model):
    """When a custom resource is healthy: CEL over `object`, the resource as it lives.

    `failed` is asked first. What is neither failed nor healthy is in progress, and `message` says why. An expression
    without an answer, as for a field that is not there, is none: the resource is waited for.
    """

    name: Name
    group: Annotated[str, StringConstraints(pattern=_GROUP_OR_END, max_length=253)]
    kind: Annotated[str, StringConstraints(pattern=_KIND_OR_STAR)]
    healthy: Annotated[str, StringConstraints(min_length=1)]
    failed: str = ""
    message: str = ""


class HealthFile(File):
    """policy/health.yaml. The rule that names a kind most exactly counts; built-in kinds have their own."""

    rules: tuple[HealthRuleEntry, ...] = ()


ClusterKind = Annotated[
    str,
    AfterValidator(kinds.checked_cluster_kind),
    WithJsonSchema({"anyOf": [{"enum": [*kinds.GIVEN]}, {"type": "string", "pattern": kinds.CUSTOM}]}),
]
"""A kind without namespaces that an environment may be given: what it has of it holds in the whole cluster.

A custom kind is named with its group: `ClusterIssuer.cert-manager.io`."""


class ApplicationOrder(Model):
    """What one application of an environment waits for."""

    after: tuple[Name, ...] = Field(min_length=1)
    """The applications that must be healthy before this one is changed."""


class Confirmation(Model):
    """One object that Git does not name any more, and that goes by this word alone.

    The UID binds it: it never holds for a later object of the same name.
    """

    kind: KindName
    namespace: Name | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    uid: Uid
    action: Literal["delete", "release"] = "delete"
    """`release` leaves it in the cluster, as nobody's: without our label, nonce and claims."""
    reason: Reason


class Budget(Model):
    """The most that one sync may do; over one of these nothing is written. Without `deletes` and `share`, a sync
    may delete ten objects, or 30 % of what the environment owns where that is more.
    """

    deletes: int | None = Field(default=None, ge=0)
    """Objects deleted."""
    share: int | None = Field(default=None, ge=0, le=100)
    """The same in percent of the environment's objects. With both, the larger one counts."""
    dependants: int = Field(default=100, ge=0)
    """What else goes with what is deleted: replica sets, pods, all that is in a namespace."""
    kinds: dict[KindName, Annotated[int, Field(ge=0)]] = {}
    """Objects deleted, of one kind."""
    objects: int | None = Field(default=None, ge=0)
    """Objects made, changed and deleted."""
    replicas: int | None = Field(default=None, ge=0)
    """Pods that scaling down and deleting workloads takes away."""
    restarts: int | None = Field(default=None, ge=0)
    """Workloads whose pods are replaced."""


class Allowance(Model):
    """These changes may pass over the budget, and no others: once something moves, they have another mark."""

    changes: Annotated[str, StringConstraints(pattern=_CHANGES)]
    reason: Reason


def _field_path(text: str) -> str:
    field_path.parse(text)
    return text


ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
FieldPath = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_field_path)]
"""As a plan prints it: `spec.template.spec.containers[name=web].resources`; `[*]` is any item of a list."""
FieldManager = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""As `managedFields` names who wrote a field."""


class ConflictRule(Model):
    """What happens when another manager has a field that Git declares, or put one there that Git does not.

    `force` takes what Git declares back, also where drift is only observed. `leave` gives it up while that manager has
    it: it is not applied, not removed, and shown as allowed. Nobody is given images, containers, what they run and may
    do, RBAC or NetworkPolicies.
    """

    kind: KindName
    """Without a group it is of any group."""
    path: FieldPath
    manager: FieldManager
    decision: Literal["force", "leave"]
    reason: Reason
    namespace: Name | None = None
    name: ObjectName | None = None
    """One object; all of the kind when it is not given."""

    @model_validator(mode="after")
    def nothing_protected_is_left(self) -> Self:
        if self.decision == "force":
            return self
        steps = field_path.parse(self.path)
        if self.manager == "*":
            raise ValueError("name the manager that a field is left to: * is only for force")
        if field_path.protected(self.kind.partition(".")[0], steps):
            raise ValueError(
                f"{self.path} of a {self.kind} is never left to another manager: it is, or has in it, an image, "
                "a container, what one runs or may do, RBAC or a NetworkPolicy"
            )
        if steps[0] in {"apiVersion", "kind"} or steps in {("metadata",), ("metadata", "name")}:
            raise ValueError(f"{self.path} is what the object is: name a field below it")
        return self


class TakeOver(Model):
    """An object that somebody else made and Git names: from this commit on it is the environment's.

    What `managers` put there and Git does not declare is removed, and they are forgotten as its managers. It is kept
    up to date, and never pruned without a confirmation.
    """

    kind: KindName
    """Without a group it is of any group."""
    name: ObjectName
    namespace: Name | None = None
    uid: Uid | None = None
    """This very object and no later one of its name."""
    managers: tuple[FieldManager, ...] = ()
    """Field managers besides those of kubectl, Helm, Argo CD and Flux, which are known."""


class RuleMatch(Model):
    """What a rule is about: everything, unless it says otherwise."""

    kinds: tuple[KindName, ...] = ()
    """`Deployment` of whatever group, or `Deployment.apps`."""
    environments: tuple[Name, ...] = ()
    pods: bool = False
    """Only kinds that make pods: the built-in ones, and those that `pods` names."""


class PodPlace(Model):
    """Where a custom kind describes the pods that it makes. A kind may have several places."""

    kind: Annotated[str, StringConstraints(pattern=_CUSTOM_KIND)]
    """With its group: `Rollout.argoproj.io`."""
    path: FieldPath
    """To what has `containers`, such as `spec.template.spec` or `spec.groups[*].template.spec`."""


class RuleEntry(Model):
    """What manifests must hold to: CEL over `object`, `pod`, `containers`, `pod_metadata` and two names.

    An expression that has no answer does not hold. A name that is a default rule's stands in for that rule.
    """

    name: Name
    match: RuleMatch = RuleMatch()
    expression: Annotated[str, StringConstraints(min_length=1)]
    message: Annotated[str, StringConstraints(max_length=500)] = ""
    message_expression: str = ""
    """CEL that makes the message."""
    severity: Literal["deny", "warn"] = "deny"
    waivable: bool = True


class RulesFile(File):
    """policy/rules.yaml"""

    defaults: bool = True
    """Whether the built-in rules hold beside these."""
    restricted: bool | tuple[Name, ...] = False
    """The environments that hold to the Pod Security Standards' "restricted" too; true for all of them."""
    pods: tuple[PodPlace, ...] = Field(default=(), max_length=50)
    """What of custom kinds is judged as pods."""
    rules: tuple[RuleEntry, ...] = Field(default=(), max_length=100)


class Reclaim(Model):
    """The record in the cluster was lost: the objects that Git names and that carry our label and claims are ours.

    Bound to the ledger: after the next healthy result it holds no more.
    """

    result: int = Field(ge=0)
    """The number of the newest healthy result in the environment's ledger; 0 when there is none."""
    reason: Reason


Recreatable = Literal[
    "ConfigMap",
    "Secret",
    "Service",
    "Job",
    "RoleBinding",
    "ClusterRoleBinding",
    "PriorityClass",
    "StorageClass",
]
"""What has neither pods nor data that would be lost with the object."""


class AllowedObject(Model):
    """Objects that may live in the environment's namespaces though Git does not declare them."""

    kind: KindName
    """Without a group it is of any group."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """`*` and `?` stand for any characters."""
    reason: Reason


class EnvironmentFile(File):
    """environments/<env>/environment.yaml"""

    id: StableId
    cluster: Name
    kubernetes: KubernetesMinor | None = None
    """As in environments.yaml, for this environment's cluster."""
    namespaces: tuple[Name, ...] = Field(min_length=1)
    """The first is where templates put objects; manifests may use any of them."""
    drift: Literal["observe", "undo"] = "undo"
    promotion: Literal["direct", "pull-request"] = "direct"
    """How a release gets here: by CI's own commit, or by a pull request that people merge by fast-forward."""
    health_seconds: int = Field(default=300, ge=1, le=86400)
    """How long a sync waits for the health of each object, from the moment in which it begins to wait for it."""
    no_progress_seconds: int | None = Field(default=None, ge=1, le=86400)
    """What has not moved for so long while it is not healthy is failed; without it, only the whole time counts."""
    order: dict[Name, ApplicationOrder] = {}
    """By application; who is not named waits for nobody."""
    cluster_kinds: tuple[ClusterKind, ...] = ()
    """What the environment may have beside its namespaces; none, unless CD's host gives it the same."""
    on_error: Literal["application", "environment"] = "application"
    """What an object that cannot be made as Git says holds back: its application and those after it, or everything."""
    conflicts: tuple[ConflictRule, ...] = ()
    """What is forced, and what is left to whom; the first rule that fits decides."""
    take_over: tuple[TakeOver, ...] = ()
    """`interlock take-over` writes it. An entry has no effect any more once the object is the environment's."""
    recreate: tuple[Recreatable, ...] = ()
    """Kinds whose objects are deleted and made again when a field that never changes has to."""
    allowed_objects: tuple[AllowedObject, ...] = ()
    """What is not foreign though nobody declared it, such as what a service mesh puts into every namespace."""
    state: Literal["active", "removed"] = "active"
    """`removed` is a tombstone: what the environment owns is taken away in order."""
    protected: tuple[KindName, ...] = ()
    """Kinds that go only by confirmation, beside namespaces, definitions, volumes and their claims."""
    prune: tuple[Confirmation, ...] = ()
    budget: Budget = Budget()
    allow: Allowance | None = None
    reclaim: Reclaim | None = None


class ApplicationFile(File):
    """applications/<app>/application.yaml"""

    template: Name
    """The folder below templates/ that renders it."""


class Source(Model):
    repository: RepositoryName
    commit: CommitId


class ReleasedComponent(Model):
    image: Image
    source: Source
    evidence: Digest
    """Digest of the evidence file's bytes."""
    head: CommitId | None = None
    """The commit that released it, where an older one with the same inputs built the image."""

    @property
    def newest(self) -> str:
        """The newest commit of the source that the release is of: CI never goes back behind it by itself."""
        return self.head or self.source.commit


class ReleaseFile(File):
    """environments/<env>/<app>/release.yaml; CI writes it, one component's entry at a time."""

    components: dict[Name, ReleasedComponent] = {}


# application repository ------------------------------------------------------------------------------


Stage = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]*$", max_length=100)]
"""A stage of a Dockerfile, in small letters."""


ArgumentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
ArgumentValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000)]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,40}[a-z0-9])?$")]


class Service(Model):
    """A container beside the tests, which reach it by its name. It reaches nothing but the tests and other services."""

    image: Image
    """By digest: `registry.example/postgres@sha256:…`."""
    command: tuple[str, ...] = ()
    """Instead of the image's own."""
    variables: dict[ArgumentName, ArgumentValue] = {}
    """Environment variables. Nothing secret: they stand in the repository."""
    ready: tuple[str, ...] = ()
    """A command that ends with 0 in the container once the service answers."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Without `ready`: a TCP port on which it listens once it answers."""
    ready_seconds: int = Field(default=60, ge=1, le=600)

    @model_validator(mode="after")
    def waited_for(self) -> Self:
        if not self.ready and self.port is None:
            raise ValueError("name a ready command or a port, by which one sees that the service answers")
        return self


class TestCommand(Model):
    """A command that leaves a JUnit report."""

    __test__ = False

    command: tuple[str, ...] = Field(min_length=1)
    report: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*\.xml$")] = "/tmp/junit.xml"  # noqa: S108 - in the container
    timeout_seconds: int = Field(default=300, ge=1, le=7200)


class Tests(TestCommand):
    """How a component's tests run inside its own image, without network but for services."""

    coverage: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*\.xml$")] | None = None
    """Where they leave a coverage report in Cobertura's form, if they do."""
    more: dict[Name, TestCommand] = Field(default={}, max_length=10)
    """Further commands, each in a container of its own after the first has ended, beside the same services."""
    services: dict[ServiceName, Service] = Field(default={}, max_length=10)
    """What they need beside them; without any they have no network."""
    target: Stage | None = None
    """A stage whose FROM is the component's `target`: the tests run in it, which stands on the image that ships."""


_BUILDERS_OWN = re.compile(
    r".*_PROXY|(?:BUILDKIT|BUILDX|DOCKER)_.*|SOURCE_DATE_EPOCH|(?:BUILD|TARGET)[A-Z]+", re.IGNORECASE
)


class Component(Model):
    """One image. Paths are relative to the repository and stay inside it."""

    context: str = "."
    dockerfile: str = "Dockerfile"
    target: Stage | None = None
    """The stage that ships; without it the last one."""
    arguments: dict[ArgumentName, ArgumentValue] = {}
    """Values of the Dockerfile's ARG. Nothing secret: the image's history shows them."""
    environments: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Of those that the bindings give, the ones to release to; without it all."""
    tests: Tests

    @model_validator(mode="after")
    def arguments_are_its_own(self) -> Self:
        if own := sorted(filter(_BUILDERS_OWN.fullmatch, self.arguments)):
            raise ValueError(f"{', '.join(own)} is the builder's own argument, which only CI's host may set")
        return self

    @model_validator(mode="after")
    def tests_stand_on_what_ships(self) -> Self:
        if self.tests.target and not self.target:
            raise ValueError("tests.target needs target: the stage that ships, on which the tests' stage stands")
        return self

    @model_validator(mode="after")
    def paths_stay_inside(self) -> Self:
        for path in (self.context, self.dockerfile):
            if path.startswith("/") or ".." in path.split("/") or re.search(r"[\0\n\\]", path):
                raise ValueError(f"{path!r} must be a relative path inside the repository")
        return self


class ApplicationRepositoryFile(File):
    """interlock.yaml"""

    components: dict[Name, Component] = Field(min_length=1)


# render tests ----------------------------------------------------------------------------------------


class RenderTestComponent(Model):
    """What a test has been released."""

    image: Image = f"registry.example/component@sha256:{'0' * 64}"
    source: Source = Source(repository="source", commit="0" * 40)


class RenderTestEnvironment(Model):
    """Where a test renders to."""

    name: Name = "test"
    """Rules that match only some environments look at it."""
    id: StableId = "0" * 12
    namespaces: tuple[Name, ...] = Field(default=("test",), min_length=1)
    cluster_kinds: tuple[ClusterKind, ...] = ()
    kubernetes: KubernetesMinor | None = None
    """Whose schemas count; without it, the newest that are known."""


class ExpectedViolation(Model):
    """A rule that an object breaks, or `schema` for what does not fit its schema."""

    rule: Name
    object: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    """Such as Deployment/test/shop."""
    severity: Literal["deny", "warn"] = "deny"
    message: Annotated[str, StringConstraints(max_length=500)] = ""
    """A part of what is said."""


class Expectation(Model):
    """What must come out. Unless `error` is given, no rule may be broken that `violations` does not name."""

    objects: tuple[dict[str, Any], ...] | None = None
    """All objects, whole, in any order."""
    match: tuple[dict[str, Any], ...] = Field(default=(), min_length=1)
    """Some objects, with some fields each; items of a list that have names are found by them."""
    violations: tuple[ExpectedViolation, ...] = ()
    error: Annotated[str, StringConstraints(max_length=1000)] = ""
    """A part of the message with which rendering fails."""

    @model_validator(mode="after")
    def is_one_thing(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("expects nothing: give objects, match, violations or error")
        if self.error and self.model_fields_set != {"error"}:
            raise ValueError("what ends with an error makes no objects and breaks no rules: give `error` alone")
        return self


class RenderTest(Model):
    """One rendering of the template set, and what must come out."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    application: Name = "test"
    environment: RenderTestEnvironment = RenderTestEnvironment()
    components: dict[Name, RenderTestComponent] = {"web": RenderTestComponent()}
    values: dict[str, Any] = {}
    """Merged over those of the file, as an environment's values are over the shared ones."""
    secrets: dict[str, Any] = {}
    """What `secrets` has: any texts, of which templates see placeholders."""
    expect: Expectation | None = None
    """Without it the test fails; `interlock test --update` writes it."""


class RenderTestFile(File):
    """templates/<set>/tests/*.yaml"""

    values: dict[str, Any] = {}
    """For all tests of the file."""
    tests: tuple[RenderTest, ...] = Field(min_length=1)


Values = dict[str, Any]
"""A values file: a mapping with string keys, whatever a template needs."""
