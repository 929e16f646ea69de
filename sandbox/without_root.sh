#!/bin/sh
# Runs a command as root of namespaces of its own (user, mount, network), for a user who is not root:
#   sh sandbox/without_root.sh .venv/bin/python -m pytest tests/cluster
# It sees no network but loopback and no other user; parts that need one (workers, Prefect, Docker, a node) do not start.
set -eu

[ "$(id -u)" != 0 ] || exec "$@"
own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT
unshare --user --map-root-user --mount --net true 2>/dev/null || {
    echo "without_root: this user may not make namespaces (unshare --user --map-root-user --mount --net)" >&2
    echo "  hint: let an administrator allow it (sysctl kernel.unprivileged_userns_clone=1), or run as root" >&2
    exit 1
}
export TMPDIR="$own" INTERLOCK_SANDBOX_STATE="$own/state"
unshare --user --map-root-user --mount --net sh -c '
    mount -t tmpfs none /run/lock  # which sandboxes there are, to root; here there are none
    ip link set lo up
    exec "$@"
' sh "$@"
