"""cosign, the verifier that others have: version 2 with its older places, version 3 with bundles."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from sandbox.golang import cached, provide_binaries
from sandbox.part import Report, Unstarted, clean_environment
from sandbox.place import Place

Major = Literal[2, 3]
Storage = Literal["bundles", "tags"]
MAJORS: tuple[Major, ...] = (2, 3)
_OFFLINE = ("--insecure-ignore-tlog=true", "--allow-http-registry")
_NO_AUTHORITIES = {
    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    **dict.fromkeys(("tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"), ()),
}


class Cosign(Unstarted):
    """Not a program that runs: it answers when both versions are there."""

    name = "cosign"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "cosign.log"
        # Known from here on: a test may have another home, and so another cache, when it runs them.
        self._programs = {major: cached(f"cosign{major}") / "cosign" for major in MAJORS}

    def provide(self, report: Report) -> None:
        for major in MAJORS:
            provide_binaries(f"cosign{major}", report=report)

    def run(
        self, major: Major, storage: Storage, command: str, image: str, *options: str, key: Path, login: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`cosign COMMAND` on an image by a public key, without the network's certificates or logs.

        `login` is `user:password` for the registry. Version 2 takes bundles wherever there are any, and then asks the
        network for authorities that a key does not need, unless it is given a file with none.
        """
        place: tuple[str, ...] = ()
        if (major, storage) == (2, "bundles"):
            root = self.place.state / "no-authorities.json"
            root.write_text(json.dumps(_NO_AUTHORITIES))
            place = ("--new-bundle-format", "--trusted-root", str(root))
        elif (major, storage) == (3, "tags"):
            place = ("--new-bundle-format=false",)
        elif major == 2:
            place = ("--private-infrastructure",)
        with tempfile.TemporaryDirectory() as folder:  # of ours alone, as the password in it
            (Path(folder) / "config.json").write_text(json.dumps(_accounts(image, login)))
            home = {"HOME": str(self.place.state), "DOCKER_CONFIG": folder}
            return subprocess.run(
                [str(self._programs[major]), command, "--key", str(key), *_OFFLINE, *place, *options, image],
                env=clean_environment(**home, COSIGN_EXPERIMENTAL="0"),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

    def sign(self, image: str, *, key: Path, login: str) -> None:
        """`cosign sign` by version 2, under the tag that it has for signatures. `key` is made when there is none."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(_accounts(image, login)))
            home = {"HOME": str(self.place.state), "DOCKER_CONFIG": folder, "COSIGN_PASSWORD": ""}
            words = ["sign", "--key", str(key), "--tlog-upload=false", "--allow-http-registry", "--yes", image]
            made = [] if key.exists() else [["generate-key-pair", "--output-key-prefix", str(key.with_suffix(""))]]
            for command in (*made, words):
                subprocess.run(
                    [str(self._programs[2]), *command],
                    env=clean_environment(**home),
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=True,
                )


def _accounts(image: str, login: str) -> dict[str, object]:
    """Docker's configuration file with the account at the image's registry."""
    auth = base64.b64encode(login.encode()).decode()
    return {"auths": {image.partition("/")[0]: {"auth": auth}} if login else {}}
