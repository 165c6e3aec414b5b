#!/bin/bash
# Puts crishim where a node has its programs and units, or takes it away again. Starts and enables nothing.
#
#   install.sh install EXECUTABLE
#   install.sh uninstall
#
# From the environment: DESTDIR (a folder to put it into, by default the machine itself), PREFIX (/usr/local), SYSCONFDIR (/etc).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
action=$1 executable=${2:-}
prefix=${PREFIX:-/usr/local} root=${DESTDIR:-} etc=${SYSCONFDIR:-/etc}
units=(crishim.socket crishim.service crishim-drain.service)

binary=$root$prefix/bin/crishim
unit_dir=$root$prefix/lib/systemd/system
tmpfiles=$root$prefix/lib/tmpfiles.d/crishim.conf
manual=$root$prefix/share/man/man8/crishim.8
bash_completion=$root$prefix/share/bash-completion/completions/crishim
zsh_completion=$root$prefix/share/zsh/site-functions/_crishim
fish_completion=$root$prefix/share/fish/vendor_completions.d/crishim.fish
config=$root$etc/crishim/config.yaml

case $action in
install)
    [ -x "$executable" ] || { echo "install.sh: $executable is not built; make build does it" >&2; exit 1; }
    install -d "$(dirname "$binary")" "$unit_dir" "$(dirname "$tmpfiles")" "$(dirname "$manual")" "$(dirname "$config")"
    # By a rename: a crishim that runs keeps the old file.
    install -m 0755 "$executable" "$binary.new"
    mv "$binary.new" "$binary"
    for unit in "${units[@]}"; do
        sed "s|/usr/local/bin/|$prefix/bin/|" "$here/$unit" > "$unit_dir/$unit"
        chmod 0644 "$unit_dir/$unit"
    done
    install -m 0644 "$here/tmpfiles.conf" "$tmpfiles"
    # Whatever is configured on this machine stays.
    [ -e "$config" ] || install -m 0644 "$here/config.yaml" "$config"
    # What the executable itself knows of its commands.
    "$executable" manual > "$manual.new"
    mv "$manual.new" "$manual"
    complete_with() { # SHELL FILE
        install -d "$(dirname "$2")"
        "$executable" completion "$1" > "$2"
        chmod 0644 "$2"
    }
    complete_with bash "$bash_completion"
    complete_with zsh "$zsh_completion"
    complete_with fish "$fish_completion"
    chmod 0644 "$manual"
    ;;
uninstall)
    rm -f "$binary" "$tmpfiles" "$manual" "$bash_completion" "$zsh_completion" "$fish_completion"
    for unit in "${units[@]}"; do rm -f "$unit_dir/$unit"; done
    # A configuration that somebody has changed is theirs.
    if cmp -s "$here/config.yaml" "$config"; then
        rm -f "$config"
        rmdir --ignore-fail-on-non-empty "$(dirname "$config")"
    fi
    ;;
*)
    echo "install.sh: unknown action '$action' (install, uninstall)" >&2
    exit 2
    ;;
esac
