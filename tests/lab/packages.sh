#!/bin/bash
# Installs the Debian packages that a purpose needs and that are missing; says nothing when there is nothing to do.
#
#   packages.sh PURPOSE...     build | lab | bench | monitoring | deb | node | shells
#
# What is asked is whether the thing is there, not the package: a machine may have runc from elsewhere (Docker's
# containerd.io brings one), and installing Debian's would then remove that.
set -euo pipefail

missing=()
need() { # PACKAGE TEST...
    local package=$1; shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
have() { command -v "$1"; }

for purpose in "$@"; do
    case $purpose in
    build)
        need gcc have gcc
        need libc6-dev test -e /usr/include/stdlib.h
        need zlib1g-dev test -e /usr/include/zlib.h
        ;;
    lab)
        need gcc have gcc
        need libc6-dev test -e /usr/include/stdlib.h
        need runc have runc
        need containernetworking-plugins test -x /usr/lib/cni/bridge -o -x /opt/cni/bin/bridge
        need busybox-static sh -c 'busybox true && ! ldd "$(command -v busybox)"'
        need iproute2 have ip
        ;;
    bench)
        need nginx-light have nginx
        need nghttp2-client have h2load
        ;;
    monitoring)
        need prometheus have promtool
        need chromium have chromium
        ;;
    deb)
        need lintian have lintian
        need binutils have objdump
        ;;
    node)
        need debootstrap have debootstrap
        need systemd-container have systemd-nspawn
        ;;
    shells)
        need zsh have zsh
        need fish have fish
        ;;
    *)
        echo "packages.sh: unknown purpose '$purpose' (build, lab, bench, monitoring, deb, node, shells)" >&2
        exit 2
        ;;
    esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

fail() { echo "packages.sh: $*" >&2; exit 1; }
command -v apt-get >/dev/null || fail "missing: ${missing[*]}; no apt-get here, please install them by hand"
[ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}; run this as root, or: apt-get install ${missing[*]}"

# A daemon that comes with a package (nginx) must not start on the machine of someone who only runs the tests.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$log" "$policy"' EXIT
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -y -o Acquire::Retries=4 -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; }
for try in 1 2 3; do
    # --no-remove: never trade something that is in use here for what the tests want.
    if apt update && apt install --no-install-recommends --no-remove "${missing[@]}"; then exit 0; fi
    [ "$try" = 3 ] || sleep $((try * 5))
done
tail -n 20 "$log" >&2
fail "could not install ${missing[*]}"
