#!/usr/bin/env bash
# Stops the cluster that scripts/up.sh started, or the node that scripts/join.sh did. Pods and services go on running: up.sh takes them over again.
#
#   scripts/down.sh            stop the programs
#   scripts/down.sh --purge    and remove all data, containers, addresses and routes
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/cluster.sh"
. "$ROOT/scripts/lib/registry.sh"
. "$ROOT/scripts/lib/leftovers.sh"

purge=false
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && echo "$CLUSTER_FLAGS" && exit ;;
    --purge) purge=true ;;
    *)
        cluster_flag "$1" "${2-}" || die "unknown argument $1 (see $0 --help)"
        [ -n "${2-}" ] || die "$1 needs a value"
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

# In the order in which they miss each other least; the stores last.
PROGRAMS="kube-proxy serverless-gateway scheduler controller-manager apiserver registry redis etcd"

# of_programs FOLDER SUFFIX: the files that there are of the programs in it.
of_programs() {
    local file program
    for file in "$1"/kubelet{,-*}"$2"; do [ ! -e "$file" ] || echo "$file"; done
    for program in $PROGRAMS; do [ ! -e "$1/$program$2" ] || echo "$1/$program$2"; done
}

stop_programs() {
    local pidfile
    of_programs "$RUN_DIR" .pid | while read -r pidfile; do
        say "stopping $(basename "$pidfile" .pid)"
        stop "$pidfile" 15
    done
}

remove_containers() {
    local node
    [ -n "$(node_names)" ] || return 0
    # What names the nodes would go, and their containers would stay.
    docker info >/dev/null 2>&1 || die "Docker does not answer, so nothing is removed: start it and try again"
    node_names | while read -r node; do
        docker ps -aq --filter "label=io.minik8s.node=$node" | xargs -r docker rm -fv >/dev/null
    done
}

# In folders that may hold other things too: --state-dir, --log-dir and so on may be anybody's.
remove_data() {
    local folder file
    # What is mounted there all the same is not ours to empty.
    rm -rf --one-file-system "$STATE_DIR"/{apiserver,etcd,kube-proxy,registry,cluster.conf} "$STATE_DIR"/kubelet-*
    rm -f "$CONFIG_DIR"/{admin,scheduler,controller-manager,kube-proxy,serverless-gateway,bootstrap-kubelet}.conf "$CONFIG_DIR/ca.crt" "$CONFIG_DIR"/kubelet-*.conf{,.old}
    rm -rf "$CONFIG_DIR/monitoring"
    of_programs "$LOG_DIR" .log | while read -r file; do rm -f "$file"; done
    for folder in "$CONFIG_DIR" "$STATE_DIR" "$LOG_DIR" "$RUN_DIR"; do
        [ ! -d "$folder" ] || rmdir "$folder" 2>/dev/null || warn "$folder stays: it holds what is not the cluster's"
    done
}

stop_programs
dns=$(cluster_dns)
forget_dns "$dns"
if $purge; then
    say "removing containers, network and data"
    remove_containers
    # shellcheck disable=SC2046 # names of nodes have no spaces
    remove_network $(node_names)
    forget_registry
    unmount "$STATE_DIR"
    # shellcheck disable=SC2046
    remove_volumes $(node_names)
    remove_data
fi
