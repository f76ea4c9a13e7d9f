# Sourced by down.sh and install.sh: what a node leaves on its host, and its removal. Not for running by itself.
# shellcheck shell=bash disable=SC2153 # CLUSTER_CIDR and SERVICE_CIDR are the scripts' own

# bridge NODE: the link that the kubelet of that name makes.
bridge() { echo "mk8s$(printf %s "$1" | sha256sum | cut -c1-8)"; }

# policies NODE: the table of nftables that its kube-proxy keeps for NetworkPolicies.
policies() { echo "minik8s-policy-$(printf %s "$1" | sha256sum | cut -c1-8)"; }

# What is ours of the network: the services' addresses, the kubelets' bridges, the VXLAN, the packet filter's chains and tables, our routes. Other
# networks' links and routes may lie in the same ranges.
remove_network() {
    local node
    ip -o addr show dev lo to "$SERVICE_CIDR" | awk '{print $4}' | xargs -r -I{} ip addr del {} dev lo
    for node in "$@"; do
        ! ip link show "$(bridge "$node")" >/dev/null 2>&1 || ip link del "$(bridge "$node")"
        ! nft list table ip "$(policies "$node")" >/dev/null 2>&1 || nft delete table ip "$(policies "$node")"
    done
    # The VXLAN: clusters that share a host are told apart by the addresses.
    ip -o addr show to "$CLUSTER_CIDR" | awk '$2 ~ /^mk8svx/ {print $2}' | sort -u | xargs -r -n1 ip link del
    remove_chains filter
    remove_chains nat
    remove_table
    remove_routes "$CLUSTER_CIDR"
    remove_routes "$SERVICE_CIDR"
}

# remove_routes CIDR: the one that keeps packets here, and kube-proxy's to the pods of other nodes.
remove_routes() {
    ! ip route show type blackhole exact "$1" | grep -q . || ip route del blackhole "$1"
    ip route flush root "$1" proto 138
}

# The rules of Services in the mode nftables, if there are any.
remove_table() {
    local a b c d length table
    IFS=./ read -r a b c d length <<<"$SERVICE_CIDR"
    table=$(printf 'minik8s-services-%02x%02x%02x%02x-%s' "$a" "$b" "$c" "$d" "$length")
    ! nft list table ip "$table" >/dev/null 2>&1 || nft delete table ip "$table"
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
    [ -z "$(mounted "$1")" ] || die "still mounted, so no data are removed: $(mounted "$1")"
}

# left_roles: those of which there are data, whether their programs are installed or not.
left_roles() {
    local data=$PREFIX/var/lib/minik8s
    [ ! -e "$data/apiserver" ] && [ ! -e "$data/etcd" ] || echo master
    [ ! -e "$data/kubelet" ] && [ ! -e "$data/kube-proxy" ] || echo worker
}

# can_purge ROLE…: before anything is stopped or removed.
can_purge() {
    [ ! -e "$PREFIX/var/lib/minik8s/cluster.conf" ] || die "scripts/up.sh or scripts/join.sh keeps its data here, so nothing is removed: scripts/down.sh --purge first"
    case " $* " in
    *' worker '*) [ -n "$PREFIX" ] || docker info >/dev/null 2>&1 || die "Docker does not answer, so nothing is removed: start it and try again" ;;
    esac
}

# purge_roles ROLE…: data and configuration of an installed host; for a node with all that it keeps of pods and Services.
purge_roles() {
    # First what may fail.
    case " $* " in *' worker '*) purge_worker ;; esac
    case " $* " in *' master '*) purge_master ;; esac
    [ -z "$(installed_roles && left_roles)" ] || return 0
    rm -rf "$PREFIX$CONFIG"
    [ -n "$PREFIX" ] || rmdir /var/lib/minik8s 2>/dev/null || true
    [ -n "$PREFIX" ] || ! getent passwd minik8s >/dev/null || userdel minik8s
}

purge_master() {
    rm -rf --one-file-system "$PREFIX"/var/lib/minik8s/{apiserver,etcd,kubeconfigs}
}

purge_worker() {
    [ -n "$PREFIX" ] || purge_node
    rm -rf --one-file-system "$PREFIX"/var/lib/minik8s/{kubelet,kube-proxy}
}

# The containers say which nodes there were.
purge_node() {
    local nodes
    mapfile -t nodes < <(docker ps -a --filter label=io.minik8s.node --format '{{.Label "io.minik8s.node"}}' | sort -u)
    docker ps -aq --filter label=io.minik8s.node | xargs -r docker rm -fv >/dev/null
    CLUSTER_CIDR=$(told MINIK8S_CLUSTER_CIDR kubelet 10.244.0.0/16) SERVICE_CIDR=$(told MINIK8S_SERVICE_CIDR kubelet 10.96.0.0/16)
    remove_network "${nodes[@]}"
    unmount /var/lib/minik8s
}
