"""A person's signature over bytes, by the program that they sign commits with: a key in a file, or in an agent."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from interlock.errors import InputError


def sign(program: str, message: bytes, *, namespace: str, key: str, public: str, in_agent: bool) -> str:
    """Armored. `key` is a private key's file; with `in_agent` an agent has the private half of `public`."""
    with tempfile.TemporaryDirectory() as folder:
        text, known = Path(folder, "message"), Path(folder, "key.pub")
        text.write_bytes(message)
        known.write_text(f"{public}\n")
        which = ("-U", "-f", str(known)) if in_agent else ("-f", key)
        try:
            done = subprocess.run(
                (program, "-Y", "sign", "-n", namespace, *which, str(text)), capture_output=True, check=False
            )
        except OSError as error:
            raise InputError(f"{program}: {error.strerror}", hint="mend git's gpg.ssh.program") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(f"{program} did not sign: {said[-1] if said else f'exit code {done.returncode}'}")
        return text.with_name("message.sig").read_text()
