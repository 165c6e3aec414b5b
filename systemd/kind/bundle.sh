#!/bin/bash
# Puts all that a kind cluster with crishim takes into one archive, OUT_DIR/crishim-kind.tar.gz, and says where.
#
#   bundle.sh EXECUTABLE VERSION OUT_DIR [COMPRESSION of the package]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/crishim-kind" "$3"
mv "$("$here/../deb/build.sh" "$1" "$2" "$work" "${4:-xz}")" "$work/crishim-kind/crishim.deb"
cp "$here/Dockerfile" "$here/cluster.yaml" "$here/install-node.sh" "$here/build.sh" "$work/crishim-kind/"
tar -C "$work" --owner=0 --group=0 -czf "$3/crishim-kind.tar.gz" crishim-kind
echo "$3/crishim-kind.tar.gz"
