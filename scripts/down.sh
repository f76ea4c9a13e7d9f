#!/usr/bin/env bash
# Stops the cluster that scripts/up.sh started. Pods and services go on running: up.sh takes them over again.
#
#   scripts/down.sh            stop the programs
#   scripts/down.sh --purge    and remove all data, containers, addresses and routes
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/cluster.sh"

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

# The nodes that had a kubelet here, by their kubeconfigs.
node_names() { find "$CONFIG_DIR" -name 'kubelet-*.conf' -printf '%f\n' 2>/dev/null | sed 's/^kubelet-//; s/\.conf$//'; }

# The programs in the order in which they miss each other least; the stores last.
stop_programs() {
    local pidfile
    for pidfile in "$RUN_DIR"/kubelet*.pid "$RUN_DIR"/{kube-proxy,serverless-gateway,scheduler,controller-manager,apiserver,redis,etcd}.pid; do
        [ ! -e "$pidfile" ] || { say "stopping $(basename "$pidfile" .pid)" && stop "$pidfile" 15; }
    done
}

remove_containers() {
    docker info >/dev/null 2>&1 || return 0
    local node
    node_names | while read -r node; do
        docker ps -aq --filter "label=io.minik8s.node=$node" | xargs -r docker rm -f >/dev/null
    done
}

# What carries addresses of the cluster's ranges: bridges, the services' addresses, and the routes.
remove_network() {
    local cidr device
    ip -o addr show dev lo to "$SERVICE_CIDR" | awk '{print $4}' | xargs -r -I{} ip addr del {} dev lo
    ip -o addr show to "$CLUSTER_CIDR" | awk '{print $2}' | sort -u | while read -r device; do ip link del "$device"; done
    for cidr in "$CLUSTER_CIDR" "$SERVICE_CIDR"; do
        ip route flush root "$cidr"
    done
    remove_rules nat && remove_rules filter
}

# The packet filter rules of ours name the pod range and say so in a comment.
remove_rules() {
    command -v iptables >/dev/null || return 0
    iptables -w -t "$1" -S | grep -- "--comment \"\?minik8s" | grep -F -- "$CLUSTER_CIDR" | sed 's/^-A/-D/' | while read -r rule; do
        eval "iptables -w -t $1 $rule"
    done
}

stop_programs
if $purge; then
    say "removing containers, network and data"
    remove_containers
    remove_network
    rm -rf "$STATE_DIR" "$CONFIG_DIR" "$LOG_DIR" "$RUN_DIR"
fi
