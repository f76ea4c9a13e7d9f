# Sourced by down.sh, install.sh and package.sh: what a node leaves on its host, and its removal. Not for running by itself.
# shellcheck shell=bash disable=SC2153 # CLUSTER_CIDR and SERVICE_CIDR are the scripts' own

# bridge NODE: the link that the kubelet of that name makes.
bridge() { echo "mk8s$(printf %s "$1" | sha256sum | cut -c1-8)"; }

# policies NODE: the table of nftables that its kube-proxy keeps for NetworkPolicies.
policies() { echo "minik8s-policy-$(printf %s "$1" | sha256sum | cut -c1-8)"; }

# sources NODE: the table of nftables in which its kubelet says whose packets come by which link of its bridge.
sources() { echo "minik8s-pods-$(printf %s "$1" | sha256sum | cut -c1-8)"; }

# What is ours of the network: the services' addresses, the kubelets' bridges, the VXLAN, the packet filter's chains and tables, our routes. Other
# networks' links and routes may lie in the same ranges.
remove_network() {
    local node range family
    for range in ${SERVICE_CIDR//,/ }; do
        ip -o addr show dev lo to "$range" | awk '{print $4}' | xargs -r -I{} ip addr del {} dev lo
    done
    for node in "$@"; do
        ! ip link show "$(bridge "$node")" >/dev/null 2>&1 || ip link del "$(bridge "$node")"
        ! nft list table bridge "$(sources "$node")" >/dev/null 2>&1 || nft delete table bridge "$(sources "$node")"
        for family in ip ip6; do
            ! nft list table "$family" "$(policies "$node")" >/dev/null 2>&1 || nft delete table "$family" "$(policies "$node")"
        done
    done
    # The VXLAN: clusters that share a host are told apart by the addresses.
    ip -o addr show to "$(v4 "$CLUSTER_CIDR")" | awk '$2 ~ /^mk8svx/ {print $2}' | sort -u | xargs -r -n1 ip link del
    remove_chains iptables filter "$(v4 "$CLUSTER_CIDR")" "$(v4 "$SERVICE_CIDR")"
    remove_chains iptables nat "$(v4 "$CLUSTER_CIDR")" "$(v4 "$SERVICE_CIDR")"
    if [ -n "$(v6 "$CLUSTER_CIDR")" ]; then
        remove_chains ip6tables filter "$(v6 "$CLUSTER_CIDR")" "$(v6 "$SERVICE_CIDR")"
        remove_chains ip6tables nat "$(v6 "$CLUSTER_CIDR")" "$(v6 "$SERVICE_CIDR")"
        for node in "$@"; do remove_chains ip6tables filter "-i $(bridge "$node") " "-i $(bridge "$node") "; done
    fi
    remove_table ip services "$SERVICE_CIDR"
    remove_table ip6 services "$SERVICE_CIDR"
    remove_table ip vxlan "$CLUSTER_CIDR"
    remove_clients
    for range in ${CLUSTER_CIDR//,/ } ${SERVICE_CIDR//,/ }; do remove_routes "$range"; done
}

# remove_routes CIDR: the one that keeps packets here, and kube-proxy's to the pods of other nodes.
remove_routes() {
    local family=-4
    [[ $1 != *:* ]] || family=-6
    ! ip "$family" route show type blackhole exact "$1" | grep -q . || ip "$family" route del blackhole "$1"
    ip "$family" route flush root "$1" proto 138
}

# remove_table FAMILY USE RANGES: kube-proxy's rules for that use, if there are any, such as `services` in the mode nftables. They are named after
# the range of IPv4.
remove_table() {
    local a b c d length table
    IFS=./ read -r a b c d length <<<"$(v4 "$3")"
    table=$(printf 'minik8s-%s-%02x%02x%02x%02x-%s' "$2" "$a" "$b" "$c" "$d" "$length")
    ! nft list table "$1" "$table" >/dev/null 2>&1 || nft delete table "$1" "$table"
}

# What brings answers to nginxes that keep clients' addresses. The rules and their routes are for all clusters of the host.
remove_clients() {
    local family
    for family in ip ip6 bridge; do remove_table $family clients "$CLUSTER_CIDR"; done
    ! nft list tables 2>/dev/null | grep minik8s-clients- >/dev/null || return 0
    for family in -4 -6; do
        ! ip $family rule list priority 138 | grep . >/dev/null || ip $family rule del priority 138 table 138
        ! ip $family route show table 138 2>/dev/null | grep . >/dev/null || ip $family route flush table 138
    done
}

# remove_chains TOOL TABLE RANGE…: our chains that name one of the ranges, of which some may be empty, and the jumps to them.
remove_chains() {
    local rules chain jump range named=() filter=("$1" -w -t "$2")
    # An empty one would be in all rules.
    for range in "${@:3}"; do [ -z "$range" ] || named+=(-e "$range"); done
    [ ${#named[@]} -gt 0 ] || return 0
    rules=$("${filter[@]}" -S)
    for chain in $(grep -F "${named[@]}" <<<"$rules" | grep -o 'MINIK8S-[^ ]*' | sort -u); do
        { grep -e "-j $chain\$" <<<"$rules" || true; } | while read -r _ jump; do
            # shellcheck disable=SC2086 # the words of a rule
            "${filter[@]}" -D $jump
        done
        "${filter[@]}" -F "$chain"
        "${filter[@]}" -X "$chain"
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

# Where claims' directories are made, unless their class says otherwise.
VOLUMES=/var/lib/minik8s/volumes

# mounts_of FOLDER: what is mounted at it and below.
mounts_of() { findmnt -nlo TARGET | awk -v at="$(realpath -m "$1")" '$0 == at || index($0, at "/") == 1'; }

# remove_volumes NODE…: the directories there that kubelets of these nodes made for claims. The mark beside each says so. What somebody has mounted
# there is not ours to empty, wherever it is from.
remove_volumes() {
    local mark name volume
    for mark in $VOLUMES/.pvc-*.made; do
        [ -s "$mark" ] && printf '%s\n' "$@" | grep -qxF -f "$mark" || continue
        name=${mark##*/.}
        volume=${VOLUMES:?}/${name%.made}
        [ -z "$(mounts_of "$volume")" ] || { warn "$volume stays: something is mounted there" && continue; }
        rm -rf --one-file-system "$volume" && rm -f "$mark"
    done
    [ ! -d $VOLUMES ] || rmdir $VOLUMES 2>/dev/null || warn "$VOLUMES stays: it holds what no mark says to be of this node"
}

# forget_dns ADDRESS: the host asks that DNS of the cluster no more, if it was pointed to it.
forget_dns() {
    [ -z "$1" ] || "$ROOT/scripts/host-dns.sh" --remove --address "$1" || warn "this host goes on asking $1: scripts/host-dns.sh --remove takes that back"
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

# Where a package that is removed keeps what its purge has to know.
KEPT=/var/lib/minik8s/kubelet

keep_settings() {
    local name
    mkdir -p $KEPT
    for name in CLUSTER_CIDR SERVICE_CIDR NODE_NAME; do
        echo "MINIK8S_$name=$(told "MINIK8S_$name" kubelet '')"
    done >$KEPT/kubelet.env
}

purge_removed_node() {
    [ ! -e $KEPT/kubelet.env ] || CONFIG=$KEPT
    purge_node
}

# The containers say which nodes there were, perhaps some of another cluster, and the settings which there is: what is on volumes goes with that alone.
purge_node() {
    local nodes
    nodes=("$(told MINIK8S_NODE_NAME kubelet "$(hostname | tr '[:upper:]' '[:lower:]')")")
    if docker info >/dev/null 2>&1; then
        mapfile -t -O 1 nodes < <(docker ps -a --filter label=io.minik8s.node --format '{{.Label "io.minik8s.node"}}' | sort -u)
        docker ps -aq --filter label=io.minik8s.node | xargs -r docker rm -fv >/dev/null
    else
        warn "Docker does not answer, so its containers of the node stay: docker ps -aq --filter label=io.minik8s.node | xargs docker rm -fv"
    fi
    CLUSTER_CIDR=$(told MINIK8S_CLUSTER_CIDR kubelet 10.244.0.0/16) SERVICE_CIDR=$(told MINIK8S_SERVICE_CIDR kubelet 10.96.0.0/16)
    remove_network "${nodes[@]}"
    unmount /var/lib/minik8s
    remove_volumes "${nodes[0]}"
}
