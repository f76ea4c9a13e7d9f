# Sourced by the scripts: installs missing Debian packages. Not for running by itself.
# shellcheck shell=bash

# What building needs: protoc and its well-known types for the etcd client, a C compiler for ring and the pause image.
BUILD_PACKAGES="protobuf-compiler libprotobuf-dev gcc libc6-dev"
# What running needs: containers, the tools of the pod network, and what the images are made from.
RUN_PACKAGES="iptables nftables conntrack iproute2 curl mmdebstrap busybox-static openssl"
# What scripts/slurm.sh needs: a whole Slurm, and ssh to its login node.
SLURM_PACKAGES="slurmctld slurmd slurm-client slurmdbd munge mariadb-server-core mariadb-client-core openssh-server openssh-client procps"

# install_missing PACKAGE…: those of the packages that are not installed, with apt.
install_missing() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing: ${missing[*]} (this machine has no apt: install them by hand)"
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    # RUNLEVEL=1 keeps packages from starting the servers they bring: the scripts start what they use.
    as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# install_docker: Docker from apt unless there is one already, from wherever. Debian 13 has the client in a package of its own.
install_docker() {
    command -v dockerd >/dev/null || install_missing docker.io
    command -v docker >/dev/null || install_missing docker-cli
}

# What tests/clients is built with where Go is so old that it can't fetch by itself what a module asks for.
GO_VERSION=1.26.8

# install_go: Go from apt unless there is one. Debian 12's is too old for what is built with it, but can fetch a newer one, from
# where modules come from and checked like them; it leaves to others that programs in it can be executed, and the names of a few files.
install_go() {
    command -v go >/dev/null || install_missing golang-go
    case $(as_builder go env GOVERSION) in go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.20*) ;; *) return 0 ;; esac
    local folder
    say "fetching Go $GO_VERSION"
    folder=$(cd / && as_builder go mod download -json \
        "golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$(dpkg --print-architecture)" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    [ -n "$folder" ] || die "Go $GO_VERSION can't be fetched: install it by hand"
    as_builder chmod -R u+w "$folder"
    as_builder find "$folder" -name _go.mod -execdir mv {} go.mod ';'
    as_builder chmod -R a+x "$folder/bin" "$folder/pkg/tool"
    PATH=$folder/bin:$PATH
}

# require_rust: the one thing that is taken to be there. rustup puts it into the home of whoever called sudo, which sudo's own
# path leaves out.
require_rust() {
    local home
    home=$(builder_home)
    command -v cargo >/dev/null || PATH=$PATH:$home/.cargo/bin
    command -v cargo >/dev/null || die "no cargo: install Rust from https://rustup.rs first"
    [ -n "${RUSTUP_HOME:-}" ] || [ ! -d "$home/.rustup" ] || export RUSTUP_HOME=$home/.rustup
    [ -n "${CARGO_HOME:-}" ] || [ ! -d "$home/.cargo" ] || export CARGO_HOME=$home/.cargo
}

builder_home() { getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6; }

# as_builder COMMAND…: as whoever called sudo, so that what is built and downloaded is theirs.
as_builder() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        # With what says how to build: else root's cargo, which runs the tests, builds everything once more.
        # shellcheck disable=SC2046 # a word each
        sudo -u "$SUDO_USER" -H env PATH="$PATH" \
            $(env | grep -E '^(CARGO_(INCREMENTAL|PROFILE_|TARGET_DIR)|CLIPPY_|RUSTC_)') "$@"
    else
        "$@"
    fi
}
