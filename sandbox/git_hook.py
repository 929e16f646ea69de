"""The git server's post-receive hook: tells the webhook receiver what was pushed, signed, as a forge does.

It is copied into the server's hooks folder and run by git in the repository, with only the standard library.
`hook.json` beside it names the receiver's address, the file with the secret, and the file that silences the hook.
A push never fails because of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

_SECONDS = 5


def main() -> None:
    config = json.loads((Path(__file__).parent / "hook.json").read_text())
    if Path(config["silence"]).exists():
        print("webhook: switched off", file=sys.stderr)
        return
    repository = Path.cwd().name.removesuffix(".git")
    for line in sys.stdin:
        before, after, ref = line.split()
        _deliver(config, repository=repository, ref=ref, before=before, after=after)


def _deliver(config: dict[str, str], *, repository: str, ref: str, before: str, after: str) -> None:
    message = {
        "ref": ref,
        "before": before,
        "after": after,
        "repository": {"full_name": repository, "clone_url": f"{config['clone_root']}/{repository}.git"},
        "pusher": {"name": os.environ.get("REMOTE_USER", "")},
    }
    body = json.dumps(message, separators=(",", ":")).encode()
    signature = hmac.new(Path(config["secret"]).read_bytes().strip(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(  # noqa: S310 -- the address is the sandbox's own
        f"{config['receiver']}/hooks/{repository}",
        data=body,
        headers={"Content-Type": "application/json", "X-Interlock-Signature-256": f"sha256={signature}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            print(f"webhook: delivered, {answer.status}", file=sys.stderr)
    except urllib.error.HTTPError as error:
        unknown = f"nobody has registered one for {repository} (interlock register hook)"
        why = unknown if error.code == HTTPStatus.UNAUTHORIZED else str(error)
        print(f"webhook: {why}; polling will find the push", file=sys.stderr)
    except (urllib.error.URLError, OSError) as error:
        print(f"webhook: not delivered ({error}); polling will find the push", file=sys.stderr)


if __name__ == "__main__":
    main()
