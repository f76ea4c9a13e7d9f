#!/usr/bin/env bash
# Stops the cluster that scripts/up.sh started. Pods and services go on running: up.sh takes them over again.
#
#   scripts/down.sh            stop the programs
#   scripts/down.sh --purge    and remove all data, containers, addresses and routes
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/cluster.sh"
. "$ROOT/scripts/lib/registry.sh"

purge=false
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && echo "$CLUSTER_FLAGS" && exit ;;
    --purge) purge=true ;;
    *)
        cluster_flag "$1" "${2-}" || die "unknown argument $1 (see $0 --help)"
        [ $# -ge 2 ] || die "$1 needs a value"
        shift
        ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "needs root: sudo $0"
settle

# The nodes that had a kubelet here, by their kubeconfigs.
node_names() {
    local conf
    for conf in "$CONFIG_DIR"/kubelet-*.conf; do
        [ ! -e "$conf" ] || basename "$conf" .conf | sed 's/^kubelet-//'
    done
}

# The programs in the order in which they miss each other least; the stores last.
stop_programs() {
    local pidfile
    for pidfile in "$RUN_DIR"/kubelet*.pid "$RUN_DIR"/{kube-proxy,serverless-gateway,scheduler,controller-manager,apiserver,registry,redis,etcd}.pid; do
        [ ! -e "$pidfile" ] || { say "stopping $(basename "$pidfile" .pid)" && stop "$pidfile" 15; }
    done
}

remove_containers() {
    docker info >/dev/null 2>&1 || return 0
    local node
    node_names | while read -r node; do
        docker ps -aq --filter "label=io.minik8s.node=$node" | xargs -r docker rm -fv >/dev/null
    done
}

# What is ours of the network: the services' addresses, the kubelets' bridges, the packet filter's chains, our routes. Other
# networks' links and routes may lie in the same ranges.
remove_network() {
    local node
    ip -o addr show dev lo to "$SERVICE_CIDR" | awk '{print $4}' | xargs -r -I{} ip addr del {} dev lo
    node_names | while read -r node; do
        ! ip link show "$(bridge "$node")" >/dev/null 2>&1 || ip link del "$(bridge "$node")"
    done
    remove_chains filter
    remove_chains nat
    remove_routes "$CLUSTER_CIDR"
    remove_routes "$SERVICE_CIDR"
}

# remove_routes CIDR: the one that keeps packets here, and kube-proxy's to the pods of other nodes.
remove_routes() {
    ! ip route show type blackhole exact "$1" | grep -q . || ip route del blackhole "$1"
    ip route flush root "$1" proto 138
}

# remove_chains TABLE: our chains that name one of the ranges, and the jumps to them.
remove_chains() {
    local rules chain jump
    rules=$(iptables -w -t "$1" -S)
    for chain in $(grep -F -e "$CLUSTER_CIDR" -e "$SERVICE_CIDR" <<<"$rules" | grep -o 'MINIK8S-[^ ]*' | sort -u); do
        { grep -e "-j $chain\$" <<<"$rules" || true; } | while read -r _ jump; do
            # shellcheck disable=SC2086 # the words of a rule
            iptables -w -t "$1" -D $jump
        done
        iptables -w -t "$1" -F "$chain"
        iptables -w -t "$1" -X "$chain"
    done
}

# mounted FOLDER: what the kubelets mounted below it for pods, the innermost first: volumes in memory, and parts of volumes.
mounted() {
    findmnt -rno TARGET | awk -v below="$(realpath -m "$1")/kubelet" 'index($1, below) == 1 && $1 ~ "/pods/" {print $1}' | sort -r
}

# unmount FOLDER: them. A part of a volume shares what is mounted in it with the volume: that stays mounted there.
unmount() {
    local point
    mounted "$1" | while read -r point; do mount --make-private "$(printf '%b' "$point")"; done
    mounted "$1" | while read -r point; do umount "$(printf '%b' "$point")"; done
    [ -z "$(mounted "$1")" ] || die "still mounted, so nothing is removed: $(mounted "$1")"
}

stop_programs
if $purge; then
    say "removing containers, network and data"
    remove_containers
    remove_network
    forget_registry
    unmount "$STATE_DIR"
    # What is mounted there all the same is not ours to empty.
    rm -rf --one-file-system "$STATE_DIR" "$CONFIG_DIR" "$LOG_DIR" "$RUN_DIR"
fi
