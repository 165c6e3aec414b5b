#!/bin/bash
# Gets containerd of the wanted version into OUT_DIR/containerd-VERSION/usr/bin, without installing it: several versions
# run beside each other and beside what the machine has. Does nothing when it is already there.
#
#   containerd.sh OUT_DIR VERSION...     1.6 | 1.7 | 2.1
#
# Every version is Debian's own package of some suite. apt does the work, from a private list of sources, with private
# indexes: it checks the archive's signature and the package's hash, and goes through whatever mirror and proxy this
# machine's own sources and settings name.
set -euo pipefail

fail() { echo "containerd.sh: $*" >&2; exit 1; }
mkdir -p "$1"
out=$(cd "$1" && pwd); shift

# Tests of several checkouts and a `make run` may come here at once.
exec 9> "$out/.containerd.lock"
flock 9

runs() { [ -x "$1/usr/bin/containerd" ] && "$1/usr/bin/containerd" --version 2>/dev/null | grep -qE " v?$2"; }

unpack() { # LABEL SUITE PATTERN
    local label=$1 suite=$2 pattern=$3 root=$out/containerd-$1
    if runs "$root" "$pattern"; then return; fi
    command -v apt-get >/dev/null || fail "no apt-get here: put containerd $label into $root/usr/bin by hand"

    local site
    site=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(COMPONENT) $(SITE)' |
        awk '$1 == "Packages" && $2 !~ /[-\/]/ && $3 == "main" { print $4; exit }')
    [ -n "$site" ] || fail "this machine's apt sources name no Debian archive with a component main"

    local work=$out/.apt-$suite keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=
    [ -e "$keyring" ] && signed="[signed-by=$keyring] "
    rm -rf "$work"
    mkdir -p "$work"/{lists/partial,archives/partial,package,parts}
    echo "deb ${signed}${site} $suite main" > "$work/sources.list"
    private() {
        (cd "$work/package" && "$@" \
            -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" \
            -o Dir::Etc::preferencesparts="$work/parts" -o Dir::Etc::preferences=/dev/null \
            -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache::archives="$work/archives" \
            -o APT::Sandbox::User=root -o APT::Update::Post-Invoke= -o Acquire::Languages=none \
            -o Acquire::Retries=4 -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
            -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
    }

    echo "getting containerd $label"
    local log=$work/log version try
    for try in 1 2 3; do
        if private apt-get -qq update > "$log" 2>&1; then
            version=$(private apt-cache madison containerd 2>>"$log" | awk -F'|' -v p="^$pattern" \
                '{ gsub(/ /, "", $2); if ($2 ~ p) { print $2; exit } }')
            [ -n "$version" ] || { rm -rf "$work"; fail "suite $suite has no containerd ${label}"; }
            if private apt-get -qq download "containerd=$version" >> "$log" 2>&1; then
                rm -rf "$root" "$root.new"
                dpkg-deb -x "$work"/package/containerd_*.deb "$root.new"
                mv "$root.new" "$root"
                rm -rf "$work"
                runs "$root" "$pattern" || fail "containerd $version does not run here: $("$root/usr/bin/containerd" --version 2>&1 | tail -1)"
                return
            fi
        fi
        [ "$try" = 3 ] || sleep $((try * 5))
    done
    tail -n 15 "$log" >&2
    rm -rf "$work"
    fail "could not get containerd $label"
}

for version in "$@"; do
    case $version in
    1.6) unpack 1.6 bookworm '1[.]6' ;;
    1.7) unpack 1.7 trixie '1[.]7' ;;
    2.1) unpack 2.1 sid '2[.]' ;;
    *) fail "unknown version '$version' (1.6, 1.7, 2.1)" ;;
    esac
done
