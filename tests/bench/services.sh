#!/usr/bin/env bash
# Measures the path of a Service, the cluster's DNS and the VXLAN in a network namespace with a dockerd of its own, which go
# with it. Needs root and the image minik8s/nginx:0.1 (scripts/images.sh). Flags are those of the benchmark for its services.
#
#   tests/bench/services.sh                   all of it; nothing else should run beside it
#   tests/bench/services.sh --short           a debug build, and little of each, to see that it works
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
. "$ROOT/scripts/lib/common.sh"
[ "${1-}" != --help ] || { usage "$0" && exit; }
[ "$(id -u)" = 0 ] || die "needs root: sudo $0"

profile=release flags=(--release)
if [ "${1-}" = --short ]; then
    shift
    profile=debug flags=()
    set -- --clients 16,200 --service-requests 2000 --other-services 10,100 --nginx-services 10 --endpoint-changes 5 --mebibytes 256 "$@"
fi
(cd "$ROOT" && cargo build -p bench --bin bench "${flags[@]}")

# Docker's layers need a disk of their own kind: /tmp may be none.
work=$(mktemp -d /var/lib/minik8s-bench.XXXXXX)
trap 'rm -rf "$work"' EXIT
docker save minik8s/nginx:0.1 -o "$work/nginx.tar"

# In the namespaces, with which its mounts go, too: loopback, the daemon, and the benchmark.
# shellcheck disable=SC2016 # expanded there
inside='set -euo pipefail
work=$1 bench=$2
shift 2
ip link set lo up
dockerd --data-root "$work/data" --exec-root "$work/run" --pidfile "$work/pid" -H "unix://$work/docker.sock" \
    --bridge none --iptables=false >"$work/log" 2>&1 &
trap "kill $! && wait $! || true" EXIT
export DOCKER_HOST=unix://$work/docker.sock
for ((i = 0; i < 300; i++)); do ! docker version >/dev/null 2>&1 || break; sleep 0.1; done
docker load -q -i "$work/nginx.tar" >/dev/null || { cat "$work/log" >&2 && exit 1; }
"$bench" --only services "$@"'
unshare --net --mount bash -c "$inside" inside "$work" "$TARGET/$profile/bench" "$@"
[ $profile = debug ] || (cd "$ROOT" && cargo bench -p kube-proxy --bench vxlan)
