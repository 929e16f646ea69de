"""`interlock register`, `declare`, `worker`, `receive`: what an administrator does on a CI or CD host."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import names, output
from interlock.cli.output import Format, Output
from interlock.contract.report import Report, Table
from interlock.errors import HostConfigError, InputError

if TYPE_CHECKING:
    from interlock.contract.models import File

app = typer.Typer(rich_markup_mode=None)
register = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write entries into a host's file: what it may build, deploy to, or be told of. Root's work.",
    epilog="""\b
Examples, in the order of a new installation:
  interlock register ci --prefect http://127.0.0.1:4200/api --environment-repository environments \\
      --url https://git.example/environments.git --root-commit 1a2b... --root-key "ssh-ed25519 AAAA..." \\
      --signer ci --key /etc/interlock/ci.key --registry registry.example
  interlock register application shop --url https://git.example/shop.git --auth /etc/interlock/shop.auth \\
      --signer ci-shop --key /etc/interlock/ci-shop.key
  interlock register cd --prefect ... --ledger ledger --ledger-url ... (as for ci)
  interlock register cluster production --kubeconfig /etc/interlock/production.kubeconfig
  interlock register environment dev --cluster production --namespace shop
  interlock register environment platform --cluster production --namespace platform \\
      --cluster-kind CustomResourceDefinition
  interlock register receiver --prefect http://127.0.0.1:4200/api --listen 0.0.0.0:9000
  interlock register hook shop --secret /etc/interlock/shop.hook
  interlock register signer --listen /run/interlock/signer.sock --client interlock-ci ... (as for ci)
  interlock register signed shop --url https://git.example/shop.git
\b
Each says what it wrote. `interlock declare ci|cd`, which workers do by themselves, brings it into Prefect.
""",
)
app.add_typer(register, name="register")


class HalfName(StrEnum):
    CI = "ci"
    CD = "cd"


class Unreachable(StrEnum):
    STOP = "stop"
    QUEUE = "queue"


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="INTERLOCK_CONFIG",
        help="The host's file.",
        show_default="/etc/interlock/ci.yaml, cd.yaml, receiver.yaml or signer.yaml",
    ),
]
HalfArgument = Annotated[HalfName, typer.Argument(metavar="ci|cd", help="Which half this host is.")]
Url = Annotated[str, typer.Option(help="Address of the repository on the git server, http or https.")]
Branch = Annotated[str, typer.Option(help="Its protected branch.")]
Auth = Annotated[Path | None, typer.Option(help="A file with one line, user:password.")]
Web = Annotated[str | None, typer.Option(help="What a commit's id is appended to for a link that people follow.")]
PrefectUrl = Annotated[str, typer.Option(help="Address of Prefect's API.")]
State = Annotated[Path, typer.Option(help="A folder that the worker's user may write.")]
EnvironmentRepository = Annotated[
    str, typer.Option(help="The environment repository's name.", callback=names.repository)
]
RootCommit = Annotated[str, typer.Option(help="Its first commit, 40 hex digits: nothing else is ever trusted.")]
RootKeys = Annotated[list[str], typer.Option("--root-key", help="A public key that may have signed it. Repeatable.")]
Signer = Annotated[str, typer.Option(help="This host's name in trust/signers.yaml.", callback=names.name)]
Key = Annotated[Path, typer.Option(help="The file of its private key.")]
PollSeconds = Annotated[int, typer.Option(help="How often branches are looked at, whatever webhooks say.")]


@register.command("ci")
def register_ci(
    *,
    prefect: PrefectUrl,
    environment_repository: EnvironmentRepository,
    url: Url,
    root_commit: RootCommit,
    root_key: RootKeys,
    signer: Signer,
    key: Key,
    registry: Annotated[str, typer.Option(help="The registry that images are pushed to, host or host:port.")],
    registry_auth: Annotated[Path | None, typer.Option(help="A file with one line, user:password.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure-registry", help="It speaks plain HTTP.")] = False,
    branch: Branch = "main",
    auth: Auth = None,
    web: Web = None,
    state: State = Path("/var/lib/interlock/ci"),
    docker: Annotated[str, typer.Option(help="Address of the Docker daemon.")] = "unix:///var/run/docker.sock",
    trivy_cache: Annotated[Path, typer.Option(help="The scanner's cache.")] = Path("/var/lib/interlock/ci/trivy"),
    pinned_database: Annotated[bool, typer.Option(help="Never download the scanner's database.")] = False,
    signer_socket: Annotated[Path | None, typer.Option(help="Where the signer listens; it signs the evidence.")] = None,
    buildx: Annotated[
        Path | None, typer.Option(help="The program docker-buildx: images are built with BuildKit.")
    ] = None,
    buildkit: Annotated[
        str | None, typer.Option(help="A buildkitd's address; without it the Docker daemon's BuildKit.")
    ] = None,
    poll_seconds: PollSeconds = 30,
    rescan_seconds: Annotated[int, typer.Option(help="How often what is released is judged again.")] = 86400,
    components_at_once: Annotated[int, typer.Option(help="How many components of a push are built at once.")] = 2,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Write a CI host's file, or its head anew; the application repositories in it stay."""
    head = _head(prefect, state, signer, key, poll_seconds) | {
        "environment_repository": _given(
            name=environment_repository, url=url, branch=branch, auth=auth, web=web, root=_root(root_commit, root_key)
        ),
        "registry": _given(host=registry, auth=registry_auth, insecure=insecure),
        "docker": docker,
        "trivy": {"cache": str(trivy_cache), "database": "pinned" if pinned_database else "download"},
        "rescan_seconds": rescan_seconds,
        "components_at_once": components_at_once,
        **_given(signer=signer_socket),
        **({"buildkit": _given(buildx=buildx, address=buildkit)} if buildx or buildkit else {}),
    }
    _write(
        "ci",
        config,
        lambda old: {**old, **head, **_asked(old, head)},
        form=form,
        said=f"CI's host with registry {registry}",
    )


@register.command("cd")
def register_cd(
    *,
    prefect: PrefectUrl,
    environment_repository: EnvironmentRepository,
    url: Url,
    root_commit: RootCommit,
    root_key: RootKeys,
    signer: Annotated[str, typer.Option(help="This host's name.", callback=names.name)],
    key: Key,
    ledger: Annotated[str, typer.Option(help="The ledger repository's name.", callback=names.repository)],
    ledger_url: Annotated[str, typer.Option(help="Its address.")],
    ledger_auth: Auth = None,
    ledger_branch: Branch = "main",
    ledger_unreachable: Annotated[
        Unreachable | None,
        typer.Option(
            help="While the ledger does not answer: apply nothing, or queue signed receipts here.", show_default="stop"
        ),
    ] = None,
    branch: Branch = "main",
    auth: Auth = None,
    web: Web = None,
    state: State = Path("/var/lib/interlock/cd"),
    poll_seconds: PollSeconds = 30,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Write a CD host's file, or its head anew; the clusters and environments in it stay."""
    head = _head(prefect, state, signer, key, poll_seconds) | {
        "environment_repository": _given(
            name=environment_repository, url=url, branch=branch, auth=auth, web=web, root=_root(root_commit, root_key)
        ),
    }
    unreachable = ledger_unreachable.value if ledger_unreachable else None
    about = _given(name=ledger, url=ledger_url, branch=ledger_branch, auth=ledger_auth, unreachable=unreachable)

    def change(old: dict[str, Any]) -> dict[str, Any]:
        # Keys that CD had before, and what becomes of receipts, are nobody's to lose by a new address.
        kept = {name: said for name, said in (old.get("ledger") or {}).items() if name in {"keys", "unreachable"}}
        return {**old, **head, **_asked(old, head), "ledger": {**kept, **about}}

    _write("cd", config, change, form=form, said=f"CD's host with ledger {ledger}")


@register.command("receiver")
def register_receiver(
    *,
    prefect: PrefectUrl,
    listen: Annotated[str, typer.Option(help="Where deliveries are taken.")] = "127.0.0.1:9000",
    state: State = Path("/var/lib/interlock/receiver"),
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Write the webhook receiver's file, or its head anew; the hooks in it stay."""
    head = {"format": 1, "prefect": prefect, "listen": listen, "state": str(state)}
    _write("receiver", config, lambda old: {**old, **head}, form=form, said=f"a receiver at {listen}")


@register.command("application")
def register_application(
    name: Annotated[str, typer.Argument(help="The application repository's name.", callback=names.repository)],
    *,
    url: Url,
    branch: Branch = "main",
    auth: Auth = None,
    web: Web = None,
    signer: Annotated[
        str | None, typer.Option(help="As whom its releases are signed, instead of as this host.", callback=names.name)
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The file of that signer's key.")] = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Let this CI host build a repository. Where it is released to, the environment repository's bindings say."""
    if (signer is None) != (key is None):
        raise InputError("a release key is a signer's name and a file", hint="give both --signer and --key, or neither")
    entry, said = _given(url=url, branch=branch, auth=auth, web=web), f"application repository {name}, {url}"
    change = _into("repositories", name, entry)
    if signer and key:
        keys, said = _into("release_keys", name, {"signer": signer, "key": str(key)}), f"{said}, signed as {signer}"
        _write("ci", config, lambda old: keys(change(old)), form=form, said=said)
    else:
        _write("ci", config, change, form=form, said=said)


@register.command("cluster")
def register_cluster(
    name: Annotated[str, typer.Argument(help="The cluster's name.", callback=names.name)],
    *,
    kubeconfig: Annotated[Path, typer.Option(help="The file with CD's access to it.")],
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Let this CD host reach a cluster."""
    entry = {"kubeconfig": str(kubeconfig)}
    _write("cd", config, _into("clusters", name, entry), form=form, said=f"cluster {name}, by {kubeconfig}")


@register.command("environment")
def register_environment(
    name: Annotated[str, typer.Argument(help="The environment's name.", callback=names.name)],
    *,
    cluster: Annotated[str, typer.Option(help="The cluster that it is on.", callback=names.name)],
    namespace: Annotated[list[str], typer.Option(help="A namespace that it may claim. Repeatable.")],
    control_namespace: Annotated[
        str | None, typer.Option(help="Where its lock and record are.", show_default="interlock-NAME")
    ] = None,
    resync_seconds: Annotated[int, typer.Option(help="How often drift is looked for.")] = 300,
    cluster_kind: Annotated[
        list[str] | None, typer.Option(help="A kind without namespaces that it may have. Repeatable.")
    ] = None,
    age_identity: Annotated[
        Path | None, typer.Option(help="The file of the key that opens its sealed values.", show_default="none")
    ] = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Let this CD host deploy an environment, to these namespaces at most, whatever a repository says."""
    entry = {
        "cluster": cluster,
        "namespaces": namespace,
        "control_namespace": control_namespace or f"interlock-{name}",
        "resync_seconds": resync_seconds,
    }
    said = f"environment {name} on {cluster}, at most in {', '.join(namespace)}"
    if cluster_kind:
        entry["cluster_kinds"] = cluster_kind
        said += f", with {', '.join(cluster_kind)}"
    if age_identity:
        entry["age_identity"] = str(age_identity)
    _write("cd", config, _into("environments", name, entry), form=form, said=said)


@register.command("hook")
def register_hook(
    name: Annotated[str, typer.Argument(help="The repository's name.", callback=names.repository)],
    *,
    secret: Annotated[Path, typer.Option(help="The file with the secret that deliveries are signed with.")],
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Let the receiver take a repository's webhook, at /hooks/NAME."""
    entry = {"secret": str(secret)}
    said = f"hook for {name}, signed with {secret}"
    _write("receiver", config, _into("repositories", name, entry), form=form, said=said)


@register.command("signer")
def register_signer(
    *,
    listen: Annotated[Path, typer.Option(help="The socket; its folder belongs to the signer's user.")],
    client: Annotated[list[str], typer.Option(help="A user that may ask: CI's worker. Repeatable.")],
    builder: Annotated[str, typer.Option(help="CI's name in trust/signers.yaml.", callback=names.name)],
    environment_repository: EnvironmentRepository,
    url: Url,
    root_commit: RootCommit,
    root_key: RootKeys,
    registry: Annotated[str, typer.Option(help="The registry that CI pushes to, host or host:port.")],
    registry_auth: Annotated[Path | None, typer.Option(help="A file with one line, user:password; to read.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure-registry", help="It speaks plain HTTP.")] = False,
    branch: Branch = "main",
    auth: Auth = None,
    state: State = Path("/var/lib/interlock/signer"),
    docker: Annotated[
        list[Path] | None,
        typer.Option(help="A socket that it must not reach. Repeatable.", show_default="Docker's and containerd's"),
    ] = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Write the signer's file, or its head anew; the repositories in it stay."""
    head = {
        "format": 1,
        "listen": str(listen),
        "clients": client,
        "builder": builder,
        "state": str(state),
        "environment_repository": _given(
            name=environment_repository, url=url, branch=branch, auth=auth, root=_root(root_commit, root_key)
        ),
        "registry": _given(host=registry, auth=registry_auth, insecure=insecure),
    }
    if docker:
        head["must_not_reach"] = [str(path) for path in docker]
    said = f"a signer at {listen}, for {', '.join(client)}"
    _write("signer", config, lambda old: {**old, **head}, form=form, said=said)


@register.command("signed")
def register_signed(
    name: Annotated[str, typer.Argument(help="The application repository's name.", callback=names.repository)],
    *,
    url: Url,
    branch: Branch = "main",
    auth: Auth = None,
    key: Annotated[
        Path | None,
        typer.Option(help="The file of its key; made when there is none.", show_default="beside the signer's file"),
    ] = None,
    key_variable: Annotated[str | None, typer.Option(help="The signer's variable with the key, instead.")] = None,
    key_kms: Annotated[str | None, typer.Option(help="The key's address in a KMS, such as acme:shop, instead.")] = None,
    builder: Annotated[
        str | None,
        typer.Option(help="CI's name in trust/signers.yaml for it, where it has its own.", callback=names.name),
    ] = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Let the signer sign for images that are built from a repository; tell the key's public half."""
    from interlock.cli import key as keys

    source: dict[str, str] = _given(environment=key_variable, kms=key_kms)
    if key or not source:
        file = _file("signer", config)
        path = key or file.with_name(f"attestation-{name.replace('/', '-')}.key")
        made = keys.attestation_key(path, owner=_owner(file))
        keys.tell(made)
        output.note(f"its public half, by which others verify, is in {path}.pub")
        source["file"] = str(made.path)
    entry = {**_given(url=url, branch=branch, auth=auth, builder=builder), "key": source}
    _write("signer", config, _into("repositories", name, entry), form=form, said=f"signed repository {name}, {url}")


def _owner(file: Path) -> tuple[int, int]:
    """Whose the signer's keys are: the user's, and group's, that its state folder belongs to."""
    from tasks.ci.host import load_signer

    state = load_signer(file).state
    try:
        found = state.stat()
    except OSError as error:
        raise HostConfigError(f"{state}: {error.strerror}", hint="make it, as the signer's user's") from None
    return found.st_uid, found.st_gid


@app.command(
    epilog="""\b
Examples:
  interlock declare ci
  INTERLOCK_CONFIG=/etc/interlock/cd.yaml interlock declare cd --output json
"""
)
def declare(half: HalfArgument, *, config: Config = None, form: Output = Format.TABLE) -> None:
    """Bring pools, deployments, schedules and automations into Prefect, as prefect.yaml and the host's file say.

    Workers do it at start and every half a minute. Doing it again changes nothing; edits by hand go back.
    """
    _configure(half, config)
    from flows.serve import declared

    changes = declared(half.value)
    title = f"declared: {len(changes)} changed" if changes else "declared: all was so already"
    rows = tuple((change,) for change in changes)
    tables = (Table(("changed",), rows),) if rows else ()
    output.show(Report("declared", title, tables=tables, data={"changed": list(changes)}), form)


@app.command(
    epilog="""\b
Examples:
  INTERLOCK_CONFIG=/etc/interlock/ci.yaml interlock worker ci
  interlock worker cd --config /etc/interlock/cd.yaml
"""
)
def worker(half: HalfArgument, *, config: Config = None) -> None:
    """Run this half's flows when Prefect asks, until stopped. It needs Prefect's API and the host's file.

    A run may choose a built-in flow and checked parameters; whatever else it carries in Prefect has no effect.
    """
    _configure(half, config)
    from flows.serve import serve

    serve(half.value)


@app.command(
    epilog="""\b
Examples:
  interlock alive ci                        # exit code 0, or 4 and why; for a container's health check
"""
)
def alive(half: HalfArgument, *, config: Config = None) -> None:
    """Say whether this host's worker lives: when it last took a turn. It says nothing of Prefect, which may be away."""
    _configure(half, config)
    from interlock.cli.halves import needs

    with needs(half.value):
        from tasks.common.alive import require_alive
        from tasks.common.host import load_half
    age = require_alive(load_half(half.value).state)
    typer.echo(f"the {half.value} worker lives: it took a turn {age:.0f} s ago")


@app.command(
    epilog="""\b
Examples:
  INTERLOCK_CONFIG=/etc/interlock/receiver.yaml interlock receive
"""
)
def receive(*, config: Config = None) -> None:
    """Take signed webhooks at /hooks/NAME and start what they ask for: to fetch now, nothing else."""
    from interlock.contract.host import ReceiverHost
    from tasks.common import host, receiver

    def load() -> ReceiverHost:
        return host.load(ReceiverHost, _file("receiver", config))

    receiver.receive(load(), load)


@app.command(
    epilog="""\b
Examples, as a user of its own that cannot reach Docker:
  INTERLOCK_CONFIG=/etc/interlock/signer.yaml interlock signer
"""
)
def signer(*, config: Config = None) -> None:
    """Sign what CI releases, after looking at registry, source commit and policy itself; until stopped.

    It alone has the attestation keys. CI's worker asks it on a socket; who asks is told by the kernel.
    """
    from interlock.cli.halves import needs

    with needs("ci"):
        from tasks.ci.host import load_signer
        from tasks.ci.signer import serve
    serve(lambda: load_signer(_file("signer", config)))


# writing host files ----------------------------------------------------------------------------------


def _head(prefect: str, state: Path, signer: str, key: Path, poll_seconds: int) -> dict[str, Any]:
    return {
        "format": 1,
        "prefect": prefect,
        "state": str(state),
        "signing": {"signer": signer, "key": str(key)},
        "poll_seconds": poll_seconds,
    }


def _root(commit: str, keys: list[str]) -> dict[str, Any]:
    return {"commit": commit, "keys": keys}


def _asked(old: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    """The environment repository as it is given now, with the forge that the host asked before."""
    before = old.get("environment_repository") or {}
    kept = {name: said for name, said in before.items() if name == "reviews"}
    return {"environment_repository": {**kept, **head["environment_repository"]}}


def _given(**values: Any) -> dict[str, Any]:
    """What was given, paths as text."""
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in values.items() if value is not None
    }


def _into(section: str, name: str, entry: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(old: dict[str, Any]) -> dict[str, Any]:
        if not old:
            raise HostConfigError(
                "the host's file is not there yet", hint="interlock register ci, cd or receiver writes it"
            )
        return {**old, section: {**old.get(section, {}), name: entry}}

    return change


_SCHEMA_LINE = "# yaml-language-server:"


def _write(
    kind: str,
    config: Path | None,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    form: Format,
    said: str,
) -> None:
    """Change the file as a whole or not at all: validated first, then moved into place, readable and root's."""
    from interlock.contract import strict_yaml

    file = _file(kind, config)
    before = file.read_text() if file.exists() else ""
    old: Any = strict_yaml.load(before, path=str(file)).value or {}
    # The line by which an editor finds a schema is the administrator's, and stays.
    text = "".join(line for line in before.splitlines(keepends=True)[:1] if line.startswith(_SCHEMA_LINE))
    text += f"# {file.name}, written by `interlock register`. Paths and addresses only, never a secret.\n"
    text += strict_yaml.dump(change(old))
    strict_yaml.parse(text, _model(kind), path=str(file))
    replace_file(file, text)
    data = {"file": str(file), "registered": said}
    output.show(Report("registered", f"registered {said}", f"in {file}", data=data), form)


def _model(kind: str) -> type[File]:
    """The model of one half's file; the other half is not imported."""
    if kind == "ci":
        from interlock.ci.host import CiHost

        return CiHost
    if kind == "signer":
        from interlock.ci.host import SignerHost

        return SignerHost
    if kind == "cd":
        from interlock.cd.host import CdHost

        return CdHost
    from interlock.contract.host import ReceiverHost

    return ReceiverHost


def replace_file(file: Path, text: str) -> None:
    """Keep the mode and owner of a file that is there; a new one can be read by all and written by its owner."""
    import tempfile

    before = file.stat() if file.exists() else None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with os.fdopen(descriptor, "w") as new:
            new.write(text)
            os.fchmod(new.fileno(), before.st_mode & 0o755 if before else 0o644)
            if before:
                os.fchown(new.fileno(), before.st_uid, before.st_gid)
            new.flush()
            os.fsync(new.fileno())
        Path(path).replace(file)
    except OSError as error:
        raise HostConfigError(f"{file}: {error}", hint="host files are root's") from error


def _file(kind: str, config: Path | None) -> Path:
    return config or Path("/etc/interlock") / f"{kind}.yaml"


def _configure(half: HalfName, config: Path | None) -> None:
    """Flows read INTERLOCK_CONFIG, so it is set whatever way the file was named."""
    file = _file(half.value, config)
    if not file.exists():
        raise InputError(f"{file} does not exist", hint=f"interlock register {half.value} writes it")
    os.environ["INTERLOCK_CONFIG"] = str(file)
