#!/usr/bin/env bash
# Runs every test: formatting, lints, unit tests, the control plane in process, and real clusters with real etcd, Redis,
# Docker and both kubectls. Installs what is missing with apt.
#
#   scripts/test.sh              everything (what CI runs)
#   scripts/test.sh --quick      without the real clusters
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
. "$ROOT/scripts/lib/docker.sh"

quick=false
case "${1:-}" in
-h | --help) usage "$0" && exit ;;
--quick) quick=true ;;
'') ;;
*) die "unknown argument $1 (see $0 --help)" ;;
esac

install() {
    require_rust
    # shellcheck disable=SC2086 # lists of words
    install_missing $BUILD_PACKAGES $RUN_PACKAGES shellcheck
    install_docker
    command -v etcd >/dev/null || install_missing etcd-server
    command -v redis-server >/dev/null || install_missing redis-server
    [ -x /usr/bin/kubectl ] || install_missing kubernetes-client
}

lint() {
    if cargo fmt --version >/dev/null 2>&1; then
        say "formatting" && cargo fmt --all --check
    else
        warn "rustfmt is not installed: formatting is not checked (rustup component add rustfmt)"
    fi
    if cargo clippy --version >/dev/null 2>&1; then
        say "lints" && cargo clippy --workspace --all-targets --quiet -- -D warnings
    else
        warn "clippy is not installed: lints are not checked (rustup component add clippy)"
    fi
    say "scripts" && (cd "$ROOT/scripts" && shellcheck -S warning -x ./*.sh)
}

cd "$ROOT"
install
lint
say "building"
cargo build --workspace --all-targets
"$ROOT/scripts/images.sh"
say "tests"
if $quick; then
    cargo test --workspace --exclude tests
    cargo test -p tests --test architecture --test catalogue
else
    cargo test --workspace
fi
