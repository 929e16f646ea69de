"""`interlock-ssh-sign`: signs for git where OpenSSH is not installed (`gpg.ssh.program`).

git calls it as ssh-keygen: `-Y sign -n git -f KEY [-U] FILE`, and reads the signature from FILE.sig.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from interlock.cli import output
from interlock.errors import InputError, InterlockError


def run() -> None:
    try:
        _sign(sys.argv[1:])
    except InterlockError as error:
        output.fail(error)
        sys.exit(error.exit_code)


def _sign(arguments: list[str]) -> None:
    from interlock.contract import signature

    parser = argparse.ArgumentParser(prog="interlock-ssh-sign", description=__doc__)
    parser.add_argument("-Y", dest="action", choices=["sign"], required=True)
    parser.add_argument("-n", dest="namespace", required=True)
    parser.add_argument("-f", dest="key", type=Path, required=True)
    parser.add_argument("-U", dest="agent", action="store_true")
    parser.add_argument("file", type=Path)
    asked = parser.parse_args(arguments)
    if asked.agent:
        raise InputError("interlock-ssh-sign: keys in an agent need OpenSSH", hint="set user.signingkey to a file")
    armored = signature.sign(asked.key.read_bytes(), asked.file.read_bytes(), namespace=asked.namespace)
    asked.file.with_name(asked.file.name + ".sig").write_text(armored)
