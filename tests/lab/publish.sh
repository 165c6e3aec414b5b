#!/bin/bash
# Publishes crishim as one stripped native executable, OUT_DIR/crishim, and refuses what a node should not get: any warning
# of the trimmer or the native compiler, or a file that has grown too large.
#
#   publish.sh RUNTIME_ID OUT_DIR
set -euo pipefail
rid=$1 out=$2
limit=$((25 * 1000 * 1000))
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

echo "building out/crishim ($rid)"
if ! dotnet publish "$root/src/CriShim" -c Release -r "$rid" -o "$out/publish" --nologo -v minimal \
    -p:TrimmerSingleWarn=false > "$log" 2>&1; then
    grep -E 'error|warning IL' "$log" | sort -u >&2 || cat "$log" >&2
    exit 1
fi
if grep -E 'warning IL[0-9]+' "$log" >&2; then
    echo "publish.sh: the native build has warnings" >&2
    exit 1
fi

binary=$out/publish/crishim
size=$(stat -c %s "$binary")
if [ "$size" -gt "$limit" ]; then
    echo "publish.sh: $size bytes; more than $limit are too many" >&2
    exit 1
fi
# By a rename: a crishim that runs from the old file keeps it, and nobody ever sees half of the new one.
cp "$binary" "$out/crishim.new"
mv "$out/crishim.new" "$out/crishim"
echo "out/crishim: $((size / 1000)) kB"
