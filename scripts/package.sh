#!/usr/bin/env bash
# Makes two Debian packages of the programs as they were built: minik8s-master and minik8s-worker. A host may have both, of one version.
#
#   scripts/package.sh
#
#   --bin DIR          the programs (those of the last build: release, or else debug)
#   --output DIR       where to (target/debian)
#   --version VERSION  of the packages (the workspace's, with the number of commits)
#
# Then, on a host:  apt install ./minik8s-master_*.deb && systemctl start minik8s-master.target
# An upgrade starts again what runs and keeps /etc/minik8s/*.env as they are; removal keeps data and configuration, purge does not, nor
# containers, addresses, routes and rules.
# With both packages on a host, both are upgraded at once: apt install ./minik8s-*.deb
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$ROOT/scripts/lib/releases.sh"

bin='' output=${CARGO_TARGET_DIR:-$ROOT/target}/debian version=''
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && exit ;;
    --bin | --output | --version)
        declare "${1#--}=${2:?$1 needs a value}"
        shift
        ;;
    *) die "unknown argument $1 (see $0 --help)" ;;
    esac
    shift
done
bin=${bin:-$(built)}
version=${version:-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")+$(git -C "$ROOT" rev-list --count HEAD 2>/dev/null || echo 0)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

# control ROLE: what dpkg is told of the package.
control() {
    local needs about other
    case $1 in
    master)
        other=minik8s-worker
        needs='passwd, openssl, curl'
        about='control plane of minik8s, a small Kubernetes
 API server, scheduler, controllers and serverless gateway, for systemd to run.'
        printf 'Suggests: etcd-server, redis-server\n'
        ;;
    worker)
        other=minik8s-master
        needs='docker.io | docker-ce, iptables, nftables, conntrack, iproute2, curl, kmod'
        about='node agent of minik8s, a small Kubernetes
 kubelet and kube-proxy, for systemd to run. Images are made by
 /usr/share/minik8s/scripts/images.sh, or pulled from where the flags say.'
        printf 'Recommends: mmdebstrap, busybox-static, gcc, libc6-dev\n'
        ;;
    esac
    # One version is in force on a host: the programs of both roles are of it.
    printf '%s\n' "Package: minik8s-$1" "Version: $version" "Architecture: $(dpkg --print-architecture)" \
        'Maintainer: minik8s <minik8s@localhost>' 'Section: admin' 'Priority: optional' \
        "Depends: libc6 (>= $(libc)), $needs" \
        "Breaks: $other (<< $version), $other (>> $version)" "Description: $about"
}

# libc: the newest version of libc6 of which a program uses something.
libc() {
    cat "$bin"/apiserver "$bin"/kubelet | grep -aoE 'GLIBC_2\.[0-9]+' | sed 's/GLIBC_//' | sort -V | tail -1
}

# functions: those of the scripts that tell what a node leaves on its host. They are in the scripts of dpkg that need them: a purge finds no others.
functions() {
    # shellcheck disable=SC2016
    bash -c 'for it in common releases leftovers; do . "$0/scripts/lib/$it.sh"; done; ROOT=/usr/share/minik8s; declare -p ROOT PREFIX CONFIG VOLUMES KEPT; declare -f' "$ROOT"
}

# maintainer ROLE SCRIPT: with what it is about in front.
maintainer() {
    {
        case $1-$2 in
        worker-prerm | worker-postrm) printf '#!/bin/bash\nset -e\n' && functions ;;
        *) printf '#!/bin/sh\nset -e\n' ;;
        esac
        printf 'role=%s version=%s\n' "$1" "$version"
        printf "units='%s'\n" "$(units "$1" | xargs)"
        sed -e "/^@CLUSTER_ENV@/{r $ROOT/deploy/systemd/cluster.env
d}" "$ROOT/deploy/debian/$2"
    } >"$work/$1/DEBIAN/$2"
    chmod 755 "$work/$1/DEBIAN/$2"
}

# shared ROLE: what a worker makes images from, and what has its host ask the cluster's DNS.
shared() {
    local to=$work/$1/usr/share/minik8s
    [ "$1" = worker ] || return 0
    mkdir -p "$to/scripts/lib" "$to/deploy"
    cp -r "$ROOT/deploy/images" "$to/deploy/"
    cp "$ROOT"/scripts/{images,host-dns}.sh "$to/scripts/"
    cp "$ROOT"/scripts/lib/{common,install,docker}.sh "$to/scripts/lib/"
}

package() {
    local to=$work/$1 file
    file=$output/minik8s-$1_${version}_$(dpkg --print-architecture).deb
    mkdir -p "$to/DEBIAN" "$to/usr/share/doc/minik8s-$1" "$output"
    # shellcheck disable=SC2034 # for the functions of lib/releases.sh
    PREFIX=$to
    unpack "$bin" "$version" "$1"
    configure "$1"
    # dpkg knows a file of one package alone; what both have, the first of them makes.
    rm "$to$CONFIG/cluster.env"
    mkdir -p "$to$UNITS"
    cp "$to$LIB/releases/$version/units"/* "$to$UNITS/"
    command install -m 644 "$ROOT/README.md" "$ROOT/LICENSE" "$to/usr/share/doc/minik8s-$1/"
    shared "$1"
    (cd "$to" && find etc -type f -printf '/%p\n' | sort) >"$to/DEBIAN/conffiles"
    control "$1" >"$to/DEBIAN/control"
    for script in preinst postinst prerm postrm; do maintainer "$1" $script; done
    dpkg-deb --root-owner-group -Zxz --build "$to" "$file" >/dev/null
    echo "$file"
}

for role in master worker; do package $role; done
