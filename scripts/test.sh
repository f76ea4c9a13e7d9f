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
    as_builder cargo fmt --version >/dev/null && as_builder cargo clippy --version >/dev/null ||
        die "no rustfmt or clippy: rustup component add rustfmt clippy"
    # shellcheck disable=SC2086 # lists of words
    install_missing $BUILD_PACKAGES $RUN_PACKAGES $SLURM_PACKAGES shellcheck openssl python3 python3-venv g++ zsh fish
    install_docker
    command -v etcd >/dev/null || install_missing etcd-server
    command -v redis-server >/dev/null || install_missing redis-server
    command -v docker-registry >/dev/null || install_missing docker-registry
    # Not as the first process of this machine: for its tool that checks units.
    command -v systemd-analyze >/dev/null || install_missing systemd
    command -v prometheus >/dev/null && command -v promtool >/dev/null || install_missing prometheus
    [ -x /usr/bin/kubectl ] || install_missing kubernetes-client
}

lint() {
    say "formatting" && as_builder cargo fmt --all --check
    say "lints" && as_builder cargo clippy --workspace --all-targets --quiet -- -D warnings
    say "scripts" && (cd "$ROOT/scripts" && shellcheck -S warning -x ./*.sh)
    # What they begin with comes from scripts/package.sh.
    shellcheck -S warning -s sh -e SC2154 "$ROOT"/deploy/debian/*
}

# The tests run as root, in the folder of whoever called sudo.
give_back() { [ -z "${SUDO_USER:-}" ] || chown -R --from=root "$SUDO_USER" "${CARGO_TARGET_DIR:-$ROOT/target}"; }
trap give_back EXIT

cd "$ROOT"
install
lint
say "building"
as_builder cargo build --workspace --all-targets
"$ROOT/scripts/images.sh"
say "tests"
if $quick; then
    cargo test --no-fail-fast --workspace --exclude tests
    cargo test --no-fail-fast -p tests --test architecture --test catalogue --test monitoring
else
    cargo test --no-fail-fast --workspace
fi
