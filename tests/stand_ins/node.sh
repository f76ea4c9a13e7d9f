# Sourced by tests, after scripts/lib/leftovers.sh: what a kubelet and a kube-proxy leave on their host, in a network of the test's own, and what
# there is of it.
# shellcheck shell=bash

# make_node NAME: with pods in 10.244.0.0/16 and fd00:10:244::/56, and Services in 10.96.0.0/16 and fd00:10:96::/112.
make_node() {
    local bridge range
    bridge=$(bridge "$1")
    ip link add "$bridge" type bridge
    ip addr add 10.244.0.1/24 dev "$bridge"
    ip addr add fd00:10:244::1/64 dev "$bridge" nodad
    ip link set "$bridge" up
    ip link add mk8svx138 type vxlan id 138 dstport 4789
    ip addr add 10.244.0.0/32 dev mk8svx138
    ip link set mk8svx138 up
    ip addr add 10.96.0.10/32 dev lo
    ip addr add fd00:10:96::a/128 dev lo nodad
    for range in 10.244.0.0/16 10.96.0.0/16 fd00:10:244::/56 fd00:10:96::/112; do ip route add blackhole "$range" proto static; done
    ip route add 10.244.7.0/24 dev lo proto 138
    ip route add fd00:10:244:7::/64 dev lo proto 138
    for table in ip\ {services-0a600000-16,vxlan-0af40000-16,clients-0af40000-16} 'ip6 services-0a600000-16' 'bridge clients-0af40000-16'; do
        nft add table "${table% *}" "minik8s-${table#* }"
    done
    nft add table bridge "$(sources "$1")"
    nft add table ip "$(policies "$1")"
    nft add table ip6 "$(policies "$1")"
    ip rule add fwmark 0x8000000/0x8000000 priority 138 table 138
    ip route add local default dev lo table 138 proto 138
    make_chains iptables 10.244.0.0/16 10.96.0.0/16 "$bridge"
    make_chains ip6tables fd00:10:244::/56 fd00:10:96::/112 "$bridge"
}

# make_chains TOOL PODS SERVICES LINK
make_chains() {
    # As after somebody's `iptables -F FORWARD`: nothing leads to it.
    "$1" -w -N MINIK8S-FWD-c
    "$1" -w -A MINIK8S-FWD-c -s "$2" -j ACCEPT
    "$1" -w -N MINIK8S-VIP-c
    "$1" -w -A INPUT -d "$3" -j MINIK8S-VIP-c
    "$1" -w -t nat -N MINIK8S-HP-n
    "$1" -w -t nat -A OUTPUT ! -d "$3" -j MINIK8S-HP-n
    [ "$1" = iptables ] || { "$1" -w -N MINIK8S-SRC-n && "$1" -w -A INPUT -i "$4" -j MINIK8S-SRC-n; }
}

# seen: all of the network.
seen() {
    local tool table
    ip -o link show | awk '{print $2}'
    ip -o addr show | awk '{print $2, $4}'
    ip -4 route show
    ip -6 route show
    ip rule list
    ip -6 rule list
    ip route show table 138 2>/dev/null || true
    for tool in iptables ip6tables; do
        for table in filter nat; do "$tool" -w -t $table -S; done
    done
    # What the other tool makes for itself says nothing.
    nft list tables | grep minik8s | sort || true
}
