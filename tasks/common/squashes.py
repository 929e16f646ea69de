"""Requests that a forge squashed: asked of the forge once, and kept in a file of this host's state from then on."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from interlock.contract import commit as commits
from interlock.contract import squash, verification
from interlock.contract.commit import RawCommit
from interlock.contract.host import EnvironmentRemote, ForgeAccount
from interlock.contract.models import Signer
from interlock.contract.reviews import Range, Request
from interlock.contract.squash import Squash
from interlock.contract.verification import Trust
from interlock.errors import GitError, Refused
from tasks.common import git
from tasks.common.forges import request_ref
from tasks.common.reviews import doors
from tasks.common.whole_file import write_whole

_MOST_COMMITS = 1000
"""Of one request."""
_REQUEST = TypeAdapter(Request)


@dataclass(frozen=True)
class Squashes:
    """What the forge of a host's environment repository has squashed."""

    remote: EnvironmentRemote
    state: Path

    def vouch(self, raw: RawCommit, signer: Signer, trust: Trust) -> frozenset[str]:
        """As `verification.Vouch`. What passed once is not asked again: the forge may be away, or forget."""
        account = self.remote.reviews
        if account is None:
            return verification.nobody_asks(raw, signer, trust)
        if (signer.forge or "").rstrip("/") != account.url.rstrip("/"):
            raise Refused(
                f"it is signed by the forge {signer.name}, {signer.forge}, and this host asks {account.url}",
                rule=squash.RULE,
                hint="`environment_repository.reviews` in the host's file names the forge",
            )
        kept = self.kept(raw.id)
        found = kept or self._asked(account, raw)
        names = squash.vouching(raw, found, trust)
        if kept is None:
            write_whole(self._path(raw.id), _written(found))
        return names

    def kept(self, commit: str) -> Squash | None:
        """What was asked before; None for what was not, or is no commit of a forge's."""
        try:
            return _read(self._path(commit).read_bytes())
        except FileNotFoundError:
            return None

    def _path(self, commit: str) -> Path:
        return self.state / "squashes" / f"{commit}.json"

    def _asked(self, account: ForgeAccount, raw: RawCommit) -> Squash:
        said = doors.requests(account, self.remote.branch, Range((raw.id,), (raw.id,)))
        request = next((each for each in said if each.squashed == raw.id), None)
        if request is None:
            raise Refused(
                f"{account.url} knows no request of {account.project} that it was made of",
                rule=squash.RULE,
                hint="some forges sign with one key for all of their projects: find out who pushed it",
            )
        mirror = git.mirror_path(self.state, self.remote.name)
        ref = request_ref(account.kind, request.number)
        if not git.has_commit(mirror, request.head):
            git.fetch_request(mirror, self.remote, ref)
        if not git.has_commit(mirror, request.head):
            raise GitError(
                f"{self.remote.url}: {ref} does not have {request.head[:12]}, which was reviewed", transient=True
            )
        parents = commits.parse(raw.data).parents
        onto = len(parents) == 1 and git.is_ancestor(mirror, parents[0], request.head)
        brought = git.read_commits(mirror, parents[0], request.head, most=_MOST_COMMITS) if onto else ()
        return Squash(request, git.tree_id(mirror, request.head), onto, brought)


def _written(found: Squash) -> bytes:
    value = {
        "request": _REQUEST.dump_python(found.request, mode="json"),
        "tree": found.tree,
        "onto": found.onto,
        "commits": [{"id": each.id, "data": base64.b64encode(each.data).decode()} for each in found.commits],
    }
    return json.dumps(value, indent=1).encode()


def _read(data: bytes) -> Squash | None:
    """None for what cannot be read: the forge is asked anew."""
    try:
        value: dict[str, Any] = json.loads(data)
        return Squash(
            request=_REQUEST.validate_python(value["request"]),
            tree=str(value["tree"]),
            onto=value["onto"] is True,
            commits=tuple(RawCommit(each["id"], base64.b64decode(each["data"])) for each in value["commits"]),
        )
    except (ValueError, ValidationError, KeyError, TypeError, binascii.Error):
        return None
