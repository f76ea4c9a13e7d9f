#!/usr/bin/env bash
# Runs every test: formatting, lints, unit tests, the control plane in process, and real clusters with real etcd, Redis,
# Docker and both kubectls. Installs what is missing with apt.
#
#   scripts/test.sh              everything (what CI runs)
#   scripts/test.sh --quick      without the real clusters
#   scripts/test.sh --soak       also, for many minutes, what goes wrong again and again: faults of three hosts, kills of API
#                                servers under load
#   scripts/test.sh --clients    instead, clients that are fetched and built first: programs of client-go, Helm, schemathesis, CoreDNS
#   scripts/test.sh --conformance  instead, Kubernetes' own specs of its API, by its end-to-end suite in $MINIK8S_CONFORMANCE (a
#                                folder with bin/e2e); $MINIK8S_CONFORMANCE_FOCUS names others
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
. "$ROOT/scripts/lib/docker.sh"

# All is built once: what would make the next build shorter, and symbols for debuggers, fill the disk.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_STRIP=symbols
# Lints are looked for while that is built: a `cargo clippy` of its own takes two thirds of the time once more. It is the
# compiler with lints added, and takes arguments as cargo-clippy passes them.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings
# Nodes take pods on a disk that the build has nearly filled, too.
export MINIK8S_EVICTION_HARD='memory.available<100Mi,nodefs.available<1%'

quick=false soak=false only=''
case "${1:-}" in
-h | --help) usage "$0" && exit ;;
--quick) quick=true ;;
--soak) soak=true ;;
--clients) only=unmodified_clients ;;
--conformance)
    [ -x "${MINIK8S_CONFORMANCE:-}/bin/e2e" ] ||
        die "\$MINIK8S_CONFORMANCE names no folder with bin/e2e: go build k8s.io/kubernetes/test/e2e (go test -c)"
    only=conformance
    ;;
'') ;;
*) die "unknown argument $1 (see $0 --help)" ;;
esac

install() {
    require_rust
    as_builder cargo fmt --version >/dev/null && as_builder clippy-driver --version >/dev/null ||
        die "no rustfmt or clippy: rustup component add rustfmt clippy"
    # shellcheck disable=SC2086 # lists of words
    install_missing $BUILD_PACKAGES $RUN_PACKAGES $SLURM_PACKAGES shellcheck openssl python3 python3-venv g++ zsh fish containernetworking-plugins
    install_docker
    command -v etcd >/dev/null || install_missing etcd-server
    command -v redis-server >/dev/null || install_missing redis-server
    command -v docker-registry >/dev/null || install_missing docker-registry
    # Not as the first process of this machine: for its tool that checks units.
    command -v systemd-analyze >/dev/null || install_missing systemd
    command -v prometheus >/dev/null && command -v promtool >/dev/null || install_missing prometheus
    [ -x /usr/bin/kubectl ] || install_missing kubernetes-client
    [ "$only" != unmodified_clients ] || install_go
}

lint() {
    say "formatting" && as_builder cargo fmt --all --check
    say "scripts" && (cd "$ROOT/scripts" && shellcheck -S warning -x ./*.sh)
    # What they begin with comes from scripts/package.sh.
    shellcheck -S warning -s sh -e SC2154 "$ROOT"/deploy/debian/*
}

# The tests run as root, in the folder of whoever called sudo.
give_back() { [ -z "${SUDO_USER:-}" ] || chown -R --from=root "$SUDO_USER" "${CARGO_TARGET_DIR:-$ROOT/target}"; }
trap give_back EXIT

# suites ARGUMENT…: of cargo test.
suites() { cargo test --no-run --message-format json "$@" | "$ROOT/scripts/lib/suites.py"; }

cd "$ROOT"
install
[ -n "$only" ] || lint
say "building, with lints"
as_builder cargo build --workspace --all-targets
df -h "$ROOT"
"$ROOT/scripts/images.sh"
say "tests"
if [ -n "$only" ]; then
    cargo test -p tests --test cluster -- --ignored --nocapture --test-threads 1 "$only::"
    [ "$only" != unmodified_clients ] || cargo test -p kube-proxy --test dns -- --ignored coredns::
elif $quick; then
    suites --workspace --exclude tests
    suites -p tests --test architecture --test catalogue --test monitoring
else
    suites --workspace
    if $soak; then
        cargo test -p tests --test cluster -- --ignored --skip unmodified_clients:: --skip conformance::
        cargo test -p apiserver --test program -- --ignored
    fi
fi
[ -n "$only" ] || cargo test --workspace --doc
