#!/bin/bash
# Makes a Debian package of a built crishim: OUT_DIR/crishim_VERSION_ARCH.deb, and says where.
#
#   build.sh EXECUTABLE VERSION OUT_DIR [COMPRESSION]    xz | gzip | none
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
executable=$1 version=$2 out=$3 compression=${4:-xz}
case $(uname -m) in aarch64|arm64) arch=arm64 ;; *) arch=amd64 ;; esac
[[ $version =~ ^[0-9][0-9A-Za-z.+~]*$ ]] || { echo "build.sh: '$version' is no version of a package (0.1.0, 0.1.0+2)" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
root=$work/root
mkdir -p "$root/DEBIAN" "$out"
DESTDIR=$root PREFIX=/usr "$here/../install.sh" install "$executable"
gzip -9n "$root/usr/share/man/man8/crishim.8"

doc=$root/usr/share/doc/crishim
mkdir -p "$doc"
cp "$here/copyright" "$doc/copyright"
install -D -m 0644 "$here/lintian-overrides" "$root/usr/share/lintian/overrides/crishim"
sed "s/@VERSION@/$version/" "$here/changelog" | gzip -9n > "$doc/changelog.gz"

for script in postinst prerm postrm; do
    install -m 0755 "$here/$script" "$root/DEBIAN/$script"
done
echo /etc/crishim/config.yaml > "$root/DEBIAN/conffiles"
libc=$(objdump -T "$executable" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -1)
size=$(du -k -s --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" -e "s/@LIBC@/${libc#GLIBC_}/" "$here/control" > "$root/DEBIAN/control"
(cd "$root" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
chmod 0644 "$root/DEBIAN/control" "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums" "$doc"/*

deb=$out/crishim_${version}_$arch.deb
# xz: dpkg of Debian 11 and what kind's images have read no zstd.
dpkg-deb --root-owner-group -Z"$compression" --build "$root" "$deb" > /dev/null
echo "$deb"
