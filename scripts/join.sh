#!/usr/bin/env bash
# Has this host join a cluster as a node: what `kubectl token create --print-join-command` prints there, typed here.
# Installs what is missing with apt and builds the programs. Run it again without arguments at any time: it starts what does
# not run. scripts/down.sh stops the node, scripts/down.sh --purge removes all that is the cluster's from this host.
#
#   scripts/join.sh HOST:PORT --token TOKEN --ca-cert-hash sha256:HASH
#
#   --token-file FILE  the token is in this file, or comes on standard input (-); so it is in no list of processes. Without
#                     either, $MINIK8S_JOIN_TOKEN is taken
#   --force           join though the cluster has a node of this name that is Ready
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
. "$ROOT/scripts/lib/networks.sh"
. "$ROOT/scripts/lib/join.sh"

build=true force=false server='' token=${MINIK8S_JOIN_TOKEN:-} hash=''
unset MINIK8S_JOIN_TOKEN
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && echo "$CLUSTER_FLAGS" && exit ;;
    --token) token=${2:?--token needs a value} && shift ;;
    --token-file)
        [ "${2:?--token-file needs a file}" = - ] || [ -r "$2" ] || die "cannot read $2"
        token=$(if [ "$2" = - ]; then cat; else cat "$2"; fi | tr -d '[:space:]')
        [ -n "$token" ] || die "--token-file $2: no token there"
        shift
        ;;
    --force) force=true ;;
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

joined() { is_good "$CONF"; }

# At a failure: nothing goes on asking, and the token is nowhere. What was set aside is there again.
joining=false
abandon() {
    if [ $? = 0 ] || ! $joining; then return 0; fi
    rm -f "$BOOTSTRAP"
    ! joined || return 0
    stop "$RUN_DIR/kubelet.pid" 10
    [ -e "$CONF" ] || [ ! -e "$CONF.old" ] || mv "$CONF.old" "$CONF"
}
trap abandon EXIT

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
    local ca=$CONFIG_DIR/ca.crt shown=$CONF
    discover "$server" "$hash" "$ca"
    if ! leads_to "$CONF" "$server" "$ca"; then
        begin_joining "$ca"
        shown=$BOOTSTRAP
    fi
    local name value
    for name in cluster-cidr service-cidr cluster-dns redis-url proxy-mode nginx network-plugin; do
        value=$(of_cluster "$shown" "$name")
        # A cluster of before does not say.
        [ -n "$value" ] || case $name in proxy-mode | nginx | network-plugin) value=${DEFAULTS[$name]} ;; esac
        give "$name" "$value"
    done
    CLUSTER_CIDR=$(setting cluster-cidr) SERVICE_CIDR=$(setting service-cidr)
}

# begin_joining CA_FILE: what this host has of another cluster, or has had, is out of the way, and the token at hand.
begin_joining() {
    local again=false
    ! has_authority "$CONF" "$1" || again=true
    joining=true
    (umask 077 && bootstrap_kubeconfig "$server" "$1" "$token" >"$BOOTSTRAP")
    $again || $force || ! is_taken || die "the cluster has a node $NODE_NAME that is Ready: give this host another name (--node-name), or \
delete that node (kubectl delete node $NODE_NAME), or say --force if it was this host"
    stop "$RUN_DIR/kube-proxy.pid" 10
    stop "$RUN_DIR/kubelet.pid" 10
    set_aside "$CONF" "$STATE_DIR/kubelet-$NODE_NAME"
}

# Whether another host is that node. A cluster that does not let hosts that join see nodes has to trust them.
is_taken() {
    [[ $(kubectl --kubeconfig "$BOOTSTRAP" get node "$NODE_NAME" --no-headers 2>/dev/null | awk '{print $2}') == Ready* ]]
}

# of_cluster KUBECONFIG NAME: what the cluster tells its nodes.
of_cluster() {
    kubectl --kubeconfig "$1" get configmap node-config -n kube-system -o "jsonpath={.data.$2}" ||
        die "the cluster does not tell what nodes need to know: run scripts/up.sh on its first host again, or the token has ended (kubectl token list)"
}

# own_address: of this host, as the others see it.
own_address() {
    local host=${server%:*}
    ip -4 route get "$(getent ahostsv4 "$host" | awk 'NR == 1 {print $1}')" | sed -n 's/.* src \([0-9.]*\).*/\1/p'
}

start_node() {
    local bus=() dns=() own=() plugin=()
    [ -z "$(setting cluster-dns)" ] || dns=(--cluster-dns "$(setting cluster-dns)")
    [ -z "$(setting redis-url)" ] || bus=(--redis "$(setting redis-url)")
    [ -z "$(setting node-labels)" ] || own=(--node-labels "$(setting node-labels)")
    [ "$(setting network-plugin)" = bridge ] || plugin=(--network-plugin "$(setting network-plugin)")
    guard "$CLUSTER_CIDR"
    guard "$SERVICE_CIDR"
    start kubelet "$BIN/kubelet" --bootstrap-kubeconfig "$BOOTSTRAP" --kubeconfig "$CONF" --node-name "$NODE_NAME" \
        --node-ip "$address" --root-dir "$STATE_DIR/kubelet-$NODE_NAME" --port "$(port 10250)" \
        --health-address "127.0.0.1:$(port 10248)" --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" \
        "${plugin[@]}" "${dns[@]}" "${bus[@]}" "${own[@]}"
    # It has what the node itself has, which its kubelet renews.
    ready kubelet joined
    joining=false
    rm -f "$BOOTSTRAP"
    start kube-proxy "$BIN/kube-proxy" --kubeconfig "$CONF" --node-name "$NODE_NAME" --state-dir "$STATE_DIR/kube-proxy" \
        --cluster-cidr "$CLUSTER_CIDR" --service-cidr "$SERVICE_CIDR" --health-address "127.0.0.1:$(port 10256)" \
        --proxy-mode "$(setting proxy-mode)" --nginx "$(setting nginx)" "${dns[@]}" "${bus[@]}"
}

is_ready() {
    [ "$(kubectl --kubeconfig "$CONF" get node "$NODE_NAME" --no-headers | awk '{print $2}')" = Ready ]
}

install
! $build || compile
! $ONE_FILE || as_builder "$BUILT/minik8s" --install "$BIN"
[ -x "$BIN/kubelet" ] || die "no programs in $BIN: run without --no-build"
mkdir -p "$CONFIG_DIR" "$STATE_DIR" "$LOG_DIR" "$RUN_DIR"
[ -n "$token" ] || joined || [ ! -e "$CONF" ] || die "the certificate in $CONF has ended: join again with another token (kubectl token create --print-join-command)"
if [ -n "$token" ] || ! joined; then find_cluster; fi
fitting "take that network from this host, or make the cluster anew by scripts/up.sh"
[ -n "$server" ] || { server=$(of_kubeconfig "$CONF" server) && server=${server#https://}; }
address=$(setting node-ip)
address=${address:-$(own_address)}
[ -n "$address" ] || die "no way to $server: is it the address of a host that can be reached from here?"
remember
"$ROOT/scripts/images.sh" --programs "$BIN"
start_node
eventually 60 "the node to be Ready (see $LOG_DIR/kubelet.log)" is_ready
say "this host is the node $NODE_NAME"
