"""A person with git at hand: works in a clone, commits, pushes with an account of the sandbox's git server."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.part import SandboxError, clean_environment


@dataclass(frozen=True)
class Developer:
    """`auth` is a file with `user:password`; `clone` is where the person works."""

    name: str
    clone: Path
    auth: Path

    def git(self, *words: str) -> str:
        """Run git in the clone; its output. The password goes by environment, never by argument."""
        done = subprocess.run(
            ["git", *words], cwd=self.clone, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SandboxError(f"git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def interlock(self, *words: str) -> str:
        """Run the product's command in the clone, with the person's account at the git server; what it printed."""
        command = [str(Path(sys.prefix) / "bin" / "interlock"), *words]
        done = subprocess.run(
            command, cwd=self.clone, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SandboxError(f"interlock {' '.join(words)}: exit code {done.returncode}\n{done.stderr.strip()}")
        return done.stdout

    def commit(self, message: str, changes: Mapping[str, str], *, signed: bool = True) -> str:
        """Write the files and commit them; the new commit's id."""
        for name, text in changes.items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git(
            *(() if signed else ("-c", "commit.gpgsign=false")), "commit", "--quiet", "--allow-empty", "-m", message
        )
        return self.head()

    def push(self, *words: str) -> str:
        """Push main; returns the commit that the server now has."""
        self.git("push", "--quiet", *words, "origin", "HEAD:refs/heads/main")
        return self.head()

    def pull(self) -> str:
        self.git("fetch", "--quiet", "origin", "main")
        self.git("reset", "--quiet", "--hard", "FETCH_HEAD")
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def remote_head(self) -> str:
        """What the server's main names now."""
        return self.git("ls-remote", "origin", "refs/heads/main").partition("\t")[0]

    def _environment(self) -> dict[str, str]:
        header = base64.b64encode(self.auth.read_text().strip().encode()).decode()
        return clean_environment(
            HOME=str(self.clone.parent),
            GIT_AUTHOR_NAME=self.name,
            GIT_AUTHOR_EMAIL=f"{self.name}@example.org",
            GIT_COMMITTER_NAME=self.name,
            GIT_COMMITTER_EMAIL=f"{self.name}@example.org",
            GIT_CONFIG_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0",
            GIT_CONFIG_COUNT="1",
            GIT_CONFIG_KEY_0="http.extraHeader",
            GIT_CONFIG_VALUE_0=f"Authorization: Basic {header}",
        )
