#!/bin/bash
# Makes the root of a Debian 12 node with systemd and containerd, OUT_DIR/node-rootfs, from the mirror that this machine's own apt
# sources name. Does nothing when it is there.
#
#   node.sh OUT_DIR
set -euo pipefail

fail() { echo "node.sh: $*" >&2; exit 1; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9> "$out/.node.lock"
flock 9
[ -e "$out/node-rootfs" ] && exit 0
command -v debootstrap >/dev/null || fail "no debootstrap here; run: tests/lab/packages.sh node"

site=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(COMPONENT) $(SITE)' |
    awk '$1 == "Packages" && $2 !~ /[-\/]/ && $3 == "main" { print $4; exit }')
[ -n "$site" ] || fail "this machine's apt sources name no Debian archive with a component main"

echo "making a Debian 12 node"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for try in 1 2 3; do
    rm -rf "$out/node-rootfs.new"
    if debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,containerd,runc,kmod,procps,ca-certificates \
        bookworm "$out/node-rootfs.new" "$site" > "$log" 2>&1; then
        rm -rf "$out/node-rootfs.new"/var/cache/apt/archives/*.deb "$out/node-rootfs.new"/var/lib/apt/lists/* \
            "$out/node-rootfs.new"/usr/share/doc/*/changelog* "$out/node-rootfs.new"/usr/share/locale
        # A node's id is made when it first boots.
        : > "$out/node-rootfs.new/etc/machine-id"
        mv "$out/node-rootfs.new" "$out/node-rootfs"
        exit 0
    fi
    [ "$try" = 3 ] || sleep $((try * 5))
done
tail -n 20 "$log" >&2
fail "could not make the node"
