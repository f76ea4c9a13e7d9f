#!/usr/bin/env bash
# Has this host join a cluster as a node: what `kubectl token create --print-join-command` prints there, typed here.
# Installs what is missing with apt and builds the programs. Run it again without arguments at any time: it starts what does
# not run. scripts/down.sh stops the node, scripts/down.sh --purge removes all that is the cluster's from this host.
#
#   scripts/join.sh HOST:PORT --token TOKEN --ca-cert-hash sha256:HASH
#
#   --node-name N     name of the node (the host name)
#   --node-ip IP      its address (the one that leads to the others)
#   --node-labels KEY=VALUE,…  labels to give it
#   --one-file        all programs as one file under several names, which takes less memory
#   --debug           debug builds (quicker to build, slower to run)
#   --no-build        take the programs as they were built last
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
. "$ROOT/scripts/lib/docker.sh"
. "$ROOT/scripts/lib/cluster.sh"
. "$ROOT/scripts/lib/programs.sh"
. "$ROOT/scripts/lib/join.sh"

build=true server='' token='' hash=''
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && echo "$CLUSTER_FLAGS" && exit ;;
    --token) token=${2:?--token needs a value} && shift ;;
    --ca-cert-hash) hash=${2:?--ca-cert-hash needs a value} && shift ;;
    --discovery-token-ca-cert-hash) hash=${2:?$1 needs a value} && shift ;;
    --node-name) give node-name "${2:?--node-name needs a name}" && shift ;;
    --node-ip) give node-ip "${2:?--node-ip needs an address}" && shift ;;
    --node-labels) give node-labels "${2?--node-labels needs a value}" && shift ;;
    --one-file | --debug) give "${1#--}" true ;;
    --no-build) build=false ;;
    --*)
        cluster_flag "$1" "${2-}" || die "unknown argument $1 (see $0 --help)"
        [ -n "${2-}" ] || die "$1 needs a value"
        shift
        ;;
    *) server=${1#https://} ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "needs root, for containers and the pod network: sudo $0"
settle

# shellcheck disable=SC2153 # set by lib/cluster.sh
CONF=$CONFIG_DIR/kubelet-$NODE_NAME.conf BOOTSTRAP=$CONFIG_DIR/bootstrap-kubelet.conf
profile=release
! $DEBUG || profile=debug
BUILT=${CARGO_TARGET_DIR:-$ROOT/target}/$profile BIN=$BUILT
! $ONE_FILE || BIN=$BUILT/one-file
PATH=$BIN:$PATH

joined() { [ -e "$CONF" ]; }

install() {
    # shellcheck disable=SC2086 # lists of words
    install_missing $RUN_PACKAGES
    install_docker
    start_docker
    ! $build || require_rust
    # shellcheck disable=SC2086
    ! $build || install_missing $BUILD_PACKAGES
}

compile() {
    local flags=(--package kubelet --package kube-proxy --package kubectl --package gpu-server --bins)
    ! $ONE_FILE || flags=(--package minik8s)
    [ $profile = debug ] || flags+=(--release)
    say "building ($profile)"
    (cd "$ROOT" && as_builder cargo build "${flags[@]}")
}

# Whom to join: the authority by its hash, and the rest from who has it.
find_cluster() {
    [[ $server =~ ^[^/]+:[0-9]+$ ]] || die "which cluster? $0 HOST:PORT --token TOKEN --ca-cert-hash sha256:HASH"
    [ -n "$token" ] || die "--token is needed: kubectl token create --print-join-command tells it"
    [ -n "$hash" ] || die "--ca-cert-hash is needed: kubectl token create --print-join-command tells it"
    discover "$server" "$hash" "$CONFIG_DIR/ca.crt"
    (umask 077 && bootstrap_kubeconfig "$server" "$CONFIG_DIR/ca.crt" "$token" >"$BOOTSTRAP")
    local name value
    for name in cluster-cidr service-cidr cluster-dns redis-url; do
        value=$(of_cluster "$name")
        give "$name" "$value"
    done
    CLUSTER_CIDR=$(setting cluster-cidr) SERVICE_CIDR=$(setting service-cidr)
}

# of_cluster NAME: what the cluster tells its nodes.
of_cluster() {
    kubectl --kubeconfig "$BOOTSTRAP" get configmap node-config -n kube-system -o "jsonpath={.data.$1}" ||
        die "the cluster does not tell what nodes need to know: run scripts/up.sh on its first host again, or the token has ended (kubectl token list)"
}

# own_address: of this host, as the others see it.
own_address() {
    local host=${server%:*}
    ip -4 route get "$(getent ahostsv4 "$host" | awk 'NR == 1 {print $1}')" | sed -n 's/.* src \([0-9.]*\).*/\1/p'
}

start_node() {
    local bus=() dns=() own=()
    [ -z "$(setting cluster-dns)" ] || dns=(--cluster-dns "$(setting cluster-dns)")
    [ -z "$(setting redis-url)" ] || bus=(--redis "$(setting redis-url)")
    [ -z "$(setting node-labels)" ] || own=(--node-labels "$(setting node-labels)")
    guard "$CLUSTER_CIDR"
    guard "$SERVICE_CIDR"
    start kubelet "$BIN/kubelet" --bootstrap-kubeconfig "$BOOTSTRAP" --kubeconfig "$CONF" --node-name "$NODE_NAME" \
        --node-ip "$address" --root-dir "$STATE_DIR/kubelet-$NODE_NAME" --port "$(port 10250)" \
        --health-address "127.0.0.1:$(port 10248)" --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" \
        "${dns[@]}" "${bus[@]}" "${own[@]}"
    # It has what the node itself has, which its kubelet renews.
    ready kubelet joined
    rm -f "$BOOTSTRAP"
    start kube-proxy "$BIN/kube-proxy" --kubeconfig "$CONF" --node-name "$NODE_NAME" --state-dir "$STATE_DIR/kube-proxy" \
        --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" --health-address "127.0.0.1:$(port 10256)" \
        "${dns[@]}" "${bus[@]}"
}

is_ready() {
    [ "$(kubectl --kubeconfig "$CONF" get node "$NODE_NAME" --no-headers | awk '{print $2}')" = Ready ]
}

install
! $build || compile
! $ONE_FILE || as_builder "$BUILT/minik8s" --install "$BIN"
[ -x "$BIN/kubelet" ] || die "no programs in $BIN: run without --no-build"
mkdir -p "$CONFIG_DIR" "$STATE_DIR" "$LOG_DIR" "$RUN_DIR"
joined || find_cluster
server=${server:-$(sed -n 's#.*"server": *"https://\([^"]*\)".*#\1#p' "$CONF")}
address=$(setting node-ip)
address=${address:-$(own_address)}
[ -n "$address" ] || die "no way to $server: is it the address of a host that can be reached from here?"
remember
"$ROOT/scripts/images.sh" --programs "$BIN"
start_node
eventually 60 "the node to be Ready (see $LOG_DIR/kubelet.log)" is_ready
say "this host is the node $NODE_NAME"
