#!/bin/bash
# Makes the two images of the lab on the spot, from what this machine has: nothing is pulled from a registry.
#
#   images.sh OUT_DIR
#
# OUT_DIR/busybox.tar and OUT_DIR/pause.tar are OCI archives that `ctr images import` reads. Their names are given at
# import, so that the pause image can carry whatever name a containerd is configured to want.
set -euo pipefail

mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9> "$out/.images.lock"
flock 9
[ -e "$out/busybox.tar" ] && [ -e "$out/pause.tar" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arch=$(dpkg --print-architecture 2>/dev/null || true)
case ${arch:-$(uname -m)} in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac

put() { # LAYOUT FILE -> digest; moves the file into the layout's blobs
    local digest
    digest=$(sha256sum "$2" | cut -d' ' -f1)
    mv "$2" "$1/blobs/sha256/$digest"
    echo "$digest"
}

archive() { # NAME ROOTFS CONFIG_JSON
    local name=$1 layout=$work/$1-oci layer config manifest
    mkdir -p "$layout/blobs/sha256"
    tar -C "$2" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer.tar" .
    local diff_id
    diff_id=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    gzip -n "$work/layer.tar"
    local layer_size; layer_size=$(stat -c %s "$work/layer.tar.gz")
    layer=$(put "$layout" "$work/layer.tar.gz")
    cat > "$work/config.json" <<J
{"architecture":"$arch","os":"linux","config":$3,"rootfs":{"type":"layers","diff_ids":["sha256:$diff_id"]}}
J
    local config_size; config_size=$(stat -c %s "$work/config.json")
    config=$(put "$layout" "$work/config.json")
    cat > "$work/manifest.json" <<J
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$config_size},
"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:$layer","size":$layer_size}]}
J
    local manifest_size; manifest_size=$(stat -c %s "$work/manifest.json")
    manifest=$(put "$layout" "$work/manifest.json")
    echo '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
    cat > "$layout/index.json" <<J
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest",
"size":$manifest_size,"platform":{"architecture":"$arch","os":"linux"}}]}
J
    tar -C "$layout" -cf "$out/$name.tar.new" oci-layout index.json blobs
    mv "$out/$name.tar.new" "$out/$name.tar"
}

busybox=$work/busybox
mkdir -p "$busybox"/{bin,tmp,etc,proc,sys,dev,root}
chmod 1777 "$busybox/tmp"
cp "$(command -v busybox)" "$busybox/bin/busybox"
for applet in $("$busybox/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$busybox/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' > "$busybox/etc/passwd"
archive busybox "$busybox" '{"Env":["PATH=/bin"],"Cmd":["/bin/sh"]}'

# What a pod's first process has to do: wait, reap what is left to it when processes are shared, and go when told.
cat > "$work/pause.c" <<'C'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void down(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, down); signal(SIGTERM, down); signal(SIGCHLD, reap); for (;;) pause(); }
C
mkdir -p "$work/pause"
gcc -static -Os -s -o "$work/pause/pause" "$work/pause.c"
archive pause "$work/pause" '{"User":"65535:65535","Entrypoint":["/pause"]}'
