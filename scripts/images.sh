#!/usr/bin/env bash
# Builds the images that minik8s and its examples run, from Debian packages alone: no registry is needed.
#
#   scripts/images.sh            build what is missing, or was made from other files
#   scripts/images.sh --force    build all of them anew
#   scripts/images.sh --programs DIR   where gpu-server is [the last build: release, or else debug]
#
# minik8s/pause      holds a pod's network namespace
# minik8s/busybox    a shell and the usual tools
# minik8s/nginx      the proxy of services (stream module), and the web server of the examples
# minik8s/python     Python 3 with Flask
# minik8s/function-python  runs functions: what the image of each of their versions is made from
# minik8s/gpu-server       takes a GPU job through Slurm; needs the program as built
# minik8s/gpu-file-server  serves the job's results
# Where a registry is at hand, the programs' flags (--pause-image, --nginx-image, --gpu-server-image, …) name other images to pull.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
. "$ROOT/scripts/lib/docker.sh"

VERSION=0.1
RELEASE=bookworm
force=false
programs=${CARGO_TARGET_DIR:-$ROOT/target}/release
[ -x "$programs/gpu-server" ] || programs=${programs%release}debug
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage "$0" && exit ;;
    --force) force=true ;;
    --programs) programs=${2:?"a directory (see $0 --help)"} && shift ;;
    *) die "unknown argument $1 (see $0 --help)" ;;
    esac
    shift
done

# source_of NAME: what an image is made from, as a hash.
source_of() {
    {
        find "$ROOT/deploy/images/$1" -type f -not -name '*.pyc' | LC_ALL=C sort | xargs cat
        case $1 in base | busybox | pause) declare -f "$1" accounts ;; esac
        case $1 in gpu-server) cat "$programs/gpu-server" && declare -f with_libraries && source_of busybox ;; esac
        case $1 in function-python) source_of python ;; nginx | python | gpu-file-server) source_of base ;; esac
    } | sha256sum | cut -c 1-16
}

present() {
    ! $force && [ "$(docker image inspect -f '{{index .Config.Labels "source"}}' "minik8s/$1:$VERSION" 2>/dev/null)" = "$(source_of "$1")" ]
}

# build NAME: the image of deploy/images/NAME, from $work/NAME.
build() {
    cp -r "$ROOT/deploy/images/$1/." "$work/$1/"
    docker build -q --label "source=$(source_of "$1")" -t "minik8s/$1:$VERSION" "$work/$1" >"$work/$1.log" 2>&1 || die "building $1: $(cat "$work/$1.log")"
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

# compile_pause COMPILER OUTPUT: without libc on the architectures that pause.c knows.
compile_pause() {
    local flags=(-Os -static -s "-Wl,--build-id=none,-z,noseparate-code")
    case $("$1" -dumpmachine) in
    x86_64-* | aarch64-*) flags+=(-nostdlib -fno-stack-protector -fno-asynchronous-unwind-tables) ;;
    esac
    "$1" "${flags[@]}" -o "$2" "$ROOT/deploy/images/pause/pause.c"
}

pause() {
    compile_pause gcc "$work/pause/pause"
    build pause
}

busybox() {
    install -D /bin/busybox "$work/busybox/root/bin/busybox"
    links /bin/busybox "$work/busybox/root"
    accounts "$work/busybox/root"
    pack "$work/busybox"
    build busybox
}

# with_libraries PROGRAM ROOT: the program, without what only a debugger reads, and the libraries that it was linked with. Their
# release is that of the machine it was built on, and not of the other images.
with_libraries() {
    local library
    command install -D "$1" "$2/usr/bin/$(basename "$1")"
    strip --strip-debug "$2/usr/bin/$(basename "$1")"
    ldd "$1" | grep -o '/[^ ]*' | while read -r library; do command install -D "$library" "$2$library"; done
}

gpu_server() {
    with_libraries "$programs/gpu-server" "$work/gpu-server/root"
    pack "$work/gpu-server"
    build gpu-server
}

# sources: the machine's own mirrors, as lines of a sources.list for the release that the images are made from. None if it has none.
sources() {
    local uri suite
    apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
        awk '$1 == "main" {print $2}' | sort -u | while read -r uri; do
        for suite in "$RELEASE" "$RELEASE-updates" "$RELEASE-security"; do
            ! curl -fsIL --max-time 10 "${uri%/}/dists/$suite/InRelease" >/dev/null 2>&1 || echo "deb $uri $suite main"
        done
    done
}

# find_proxies: sets mmdebstrap's options for the proxies that the machine's apt uses.
find_proxies() {
    local scheme proxy=''
    proxies=()
    for scheme in http https; do
        eval "$(apt-config shell proxy "Acquire::$scheme::Proxy")"
        [ -z "$proxy" ] || proxies+=("--aptopt=Acquire::$scheme::Proxy \"$proxy\"")
        proxy=''
    done
}

base() {
    local root=$work/base/root mirrors proxies
    find_proxies
    as_root apt-get update -qq || warn "apt-get update failed"
    mirrors=$(sources)
    # With no line of ours, mmdebstrap takes Debian's own mirror.
    mmdebstrap -q --variant=extract --include=nginx-light,libnginx-mod-stream,python3,python3-flask,python3-pip-whl,busybox-static \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' "${proxies[@]}" \
        "$RELEASE" "$work/all.tar" ${mirrors:+-} <<<"$mirrors" 2>"$work/base.log" ||
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
    local all=(pause busybox nginx python function-python gpu-file-server) wanted=() name
    if [ -x "$programs/gpu-server" ]; then all+=(gpu-server); else say "no image of gpu-server: it is not built"; fi
    for name in "${all[@]}"; do present "$name" || wanted+=("$name"); done
    [ ${#wanted[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2086 # a list of words
    install_missing $BUILD_PACKAGES mmdebstrap busybox-static
    # An image above the base needs it.
    case " ${wanted[*]} " in *' nginx '* | *' python '* | *' gpu-file-server '*) present base || wanted=(base "${wanted[@]}") ;; esac
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for name in "${wanted[@]}"; do
        say "building image minik8s/$name:$VERSION"
        mkdir -p "$work/$name"
        case $name in pause | busybox | base) $name ;; gpu-server) gpu_server ;; *) build "$name" ;; esac
    done
}
# A test takes single functions.
[ "${BASH_SOURCE[0]}" != "$0" ] || main
