#!/bin/sh
# Makes .venv from uv.lock on a machine with nothing but Python 3.11 or newer; `make` calls it.
set -eu

uv_version=0.13.9
cache="${XDG_CACHE_HOME:-$HOME/.cache}/interlock"

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1; then
            "$name" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null || true
        fi
    done | grep -m 1 . || true
}

# Debian and Ubuntu split what `python -m venv` needs into a package of its own.
install_venv() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    package="python$version-venv"
    command -v apt-get >/dev/null 2>&1 || fail "$python cannot make virtual environments; install its venv and ensurepip modules"
    [ "$(id -u)" = 0 ] || fail "$python cannot make virtual environments; run: sudo apt-get install $package"
    say "installing from Debian: $package"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2
}

find_uv() {
    if command -v uv >/dev/null 2>&1; then
        command -v uv
        return
    fi
    own="$cache/uv-$uv_version"
    if [ ! -x "$own/bin/uv" ]; then
        say "installing uv $uv_version into $own"
        "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv
        mkdir -p "$cache"
        new=$(mktemp -d "$own.XXXXXX")  # two checkouts may be set up at the same time
        trap 'rm -rf "$new"' EXIT
        "$python" -m venv "$new"
        "$new/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version" >&2
        mv -T "$new" "$own" 2>/dev/null || [ -x "$own/bin/uv" ] || fail "$own is in the way; remove it"
    fi
    echo "$own/bin/uv"
}

python=$(find_python)
[ -n "$python" ] || fail "no Python 3.11 or newer on PATH; on Debian 12 or Ubuntu 24.04: apt-get install python3"
uv=$(find_uv)
[ $# -gt 0 ] || say "making .venv from uv.lock with $python, about half a minute"
[ -t 2 ] || quiet=--quiet  # uv's progress on a terminal, no list of packages elsewhere
# The sandbox's workers are other users and cannot write bytecode, so it is compiled now.
UV_PYTHON_DOWNLOADS=never "$uv" sync ${quiet:-} --frozen --all-extras --compile-bytecode --python "$python" "$@"
