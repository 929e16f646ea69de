"""The systems whose packages the scanner can judge, and where systems of any kind keep the list of theirs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Literal

Form = Literal["deb", "apk", "rpm", "other", "link", "unread"]
"""Of a list of installed packages. `other`: the scanner reads none. `link`: it is a link to a file elsewhere, which the
scanner does not follow. `unread`: nobody knows whether there is one.
"""

# What such a system's packages are called in a package URL: its type and its namespace. Of each of them it was seen
# that the scanner finds a hole in a package that is named so, when its database knows one.
_NAMED: Mapping[str, tuple[Form, str]] = {
    "debian": ("deb", "debian"),
    "ubuntu": ("deb", "ubuntu"),
    "alpine": ("apk", "alpine"),
    "wolfi": ("apk", "wolfi"),
    "chainguard": ("apk", "chainguard"),
    "alma": ("rpm", "alma"),
    "amazon": ("rpm", "amazon"),
    "azurelinux": ("rpm", "azurelinux"),
    "cbl-mariner": ("rpm", "cbl-mariner"),
    "centos": ("rpm", "centos"),
    "opensuse-leap": ("rpm", "opensuse"),
    "opensuse-tumbleweed": ("rpm", "opensuse"),
    "oracle": ("rpm", "oracle"),
    "photon": ("rpm", "photon"),
    "redhat": ("rpm", "redhat"),
    "rocky": ("rpm", "rocky"),
    "slem": ("rpm", "suse"),
    "sles": ("rpm", "suse"),
}

_PLACES: Mapping[Form, re.Pattern[str]] = {
    "deb": re.compile(r"var/lib/dpkg/(status|status\.d/[^/]+)"),
    "apk": re.compile(r"(usr/)?lib/apk/db/installed"),
    "rpm": re.compile(r"((var/lib|usr/lib/sysimage|usr/share)/rpm|var/lib/rpmmanifest)/[^/.][^/]*"),
    # Those of Arch, Gentoo, Void, OpenWrt, Slackware, Solus and Nix.
    "other": re.compile(
        r"var/lib/pacman/local/[^/]+/desc|var/db/pkg/[^/]+/[^/]+/PF|var/db/xbps/pkgdb-[^/]+\.plist"
        r"|(usr/lib|var/lib|lib)/opkg/status|var/(log|lib/pkgtools)/packages/[^/]+|var/lib/eopkg/package/.+"
        r"|nix/var/nix/db/db\.sqlite"
    ),
}


def is_known(family: str) -> bool:
    """Whether the scanner knows vulnerabilities of such a system."""
    return family in _NAMED


def form_of(family: str) -> Form | None:
    """In which form such a system lists its packages; None when the scanner does not know it."""
    named = _NAMED.get(family)
    return named[0] if named else None


def package_url(package: str, *, family: str, version: str) -> str:
    """Version 0 of a package of a system that is known."""
    form, namespace = _NAMED[family]
    architecture = "x86_64" if form == "rpm" else "amd64"
    return f"pkg:{form}/{namespace}/{package}@0?arch={architecture}&distro={family}-{version}"


def form_at(path: str) -> Form | None:
    """Of what form the list of packages at a path of an image is; None when there can be none."""
    place = posixpath.normpath(f"/{path}").lstrip("/")
    return next((form for form, pattern in _PLACES.items() if pattern.fullmatch(place)), None)
