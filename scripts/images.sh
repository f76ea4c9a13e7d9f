#!/usr/bin/env bash
# Builds the images that minik8s and its examples run, from Debian packages alone: no registry is needed.
#
#   scripts/images.sh            build what is missing
#   scripts/images.sh --force    build all of them anew
#
# minik8s/pause      holds a pod's network namespace
# minik8s/busybox    a shell and the usual tools
# minik8s/nginx      the proxy of services (stream module), and the web server of the examples
# minik8s/python     Python 3 with Flask, for functions
# Where a registry is at hand, the programs' flags (--pause-image, --nginx-image) name other images to pull.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
. "$ROOT/scripts/lib/docker.sh"

VERSION=0.1
force=false
case "${1:-}" in
-h | --help) usage "$0" && exit ;;
--force) force=true ;;
'') ;;
*) die "unknown argument $1 (see $0 --help)" ;;
esac

present() { ! $force && docker image inspect "minik8s/$1:$VERSION" >/dev/null 2>&1; }

# build NAME: the image of deploy/images/NAME, from $work/NAME.
build() {
    cp -r "$ROOT/deploy/images/$1/." "$work/$1/"
    docker build -q -t "minik8s/$1:$VERSION" "$work/$1" >"$work/$1.log" 2>&1 || die "building $1: $(cat "$work/$1.log")"
}

# links BUSYBOX ROOT: a link for each applet, where nothing else has the name.
links() {
    local applet
    for applet in $("$1" --list); do
        [ -e "$2/bin/$applet" ] || [ -e "$2/usr/bin/$applet" ] || ln -s busybox "$2/bin/$applet"
    done
}

# accounts ROOT: what packages' scripts would have written; extracting runs none of them.
accounts() {
    mkdir -p "$1/etc" "$1/tmp" "$1/root" "$1/run"
    printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$1/etc/group"
    echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
    chmod 1777 "$1/tmp"
}

pack() { tar -C "$1/root" --owner=0 --group=0 --numeric-owner -cf "$1/root.tar" . && rm -rf "$1/root"; }

pause() {
    gcc -Os -static -nostdlib -fno-stack-protector -fno-asynchronous-unwind-tables -Wl,--build-id=none,-z,noseparate-code \
        -s -o "$work/pause/pause" "$ROOT/deploy/images/pause/pause.c"
    build pause
}

busybox() {
    install -D /bin/busybox "$work/busybox/root/bin/busybox"
    links /bin/busybox "$work/busybox/root"
    accounts "$work/busybox/root"
    pack "$work/busybox"
    build busybox
}

base() {
    local root=$work/base/root
    mmdebstrap -q --variant=extract --include=nginx-light,libnginx-mod-stream,python3,python3-flask,busybox-static \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' bookworm "$work/all.tar" 2>"$work/base.log" ||
        die "unpacking Debian packages: $(tail -5 "$work/base.log")"
    mkdir -p "$root" && tar -C "$root" --exclude='./dev/*' -xf "$work/all.tar" && rm "$work/all.tar"
    rm -rf "$root"/var/lib/dpkg "$root"/var/cache "$root"/usr/share/{locale,perl5,zoneinfo}
    mkdir -p "$root/var/log/nginx" "$root/var/lib/nginx" "$root/var/cache"
    links "$root/bin/busybox" "$root"
    accounts "$root"
    pack "$work/base"
    build base
}

main() {
    install_docker
    start_docker
    local wanted=() name
    for name in pause busybox nginx python; do present $name || wanted+=("$name"); done
    [ ${#wanted[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2086 # a list of words
    install_missing $BUILD_PACKAGES mmdebstrap busybox-static
    # An image above the base needs it; an old one is as good as a new one unless --force.
    case " ${wanted[*]} " in *' nginx '* | *' python '*) present base || wanted=(base "${wanted[@]}") ;; esac
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for name in "${wanted[@]}"; do
        say "building image minik8s/$name:$VERSION"
        mkdir -p "$work/$name"
        case $name in pause | busybox | base) $name ;; *) build "$name" ;; esac
    done
}
main
