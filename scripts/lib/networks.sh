# Sourced by up.sh, join.sh and install.sh: whether networks of this host are in the way of the cluster's, as far as these are of IPv4. Not
# for running by itself.
# shellcheck shell=bash

# host_networks RANGE…: where the host's routes lead, their routers, and its own addresses, each with its link. What is ours is not among them:
# kubelets' bridges, Weave Net's, the VXLAN, Services' addresses, routes to the pods of other nodes, and what keeps packets for the ranges
# here; on a host that is part of the cluster by now, also the bridge that plugins of CNI make. A route over several links has a line for each.
host_networks() {
    local links='^(mk8s.*|weave)$'
    # install.sh remembers nothing.
    [[ $(declare -p REMEMBERED 2>/dev/null) != *'[cluster-cidr]='* ]] || links='^(mk8s.*|weave|cni0)$'
    ip -4 route show | awk -v ours=" $* " -v links="$links" '
        function after(word, i) { for (i = 1; i < NF; i++) if ($i == word) return $(i + 1) }
        function is_network(text) { return text ~ /^[0-9]+\.[0-9.\/]+$/ }
        after("proto") == 138 || after("dev") ~ links || $1 == "blackhole" && index(ours, " " $2 " ") {next}
        {network = $1 ~ /^[a-z]+$/ ? $2 : $1; link = after("dev")}
        link == "" {link = $1 ~ /^[a-z]+$/ ? $1 : "several links"}
        is_network(network) {print network, link}
        is_network(after("via")) {print after("via"), link}'
    ip -4 -o addr show | awk -v links="$links" '$2 != "lo" && $2 !~ links {sub("/.*", "", $4); print $4, $2}'
}

# ends NETWORK: FIRST and LAST, its addresses as numbers. An address is a network of one.
ends() {
    local a b c d length size
    IFS=./ read -r a b c d length <<<"$1/32"
    size=$((1 << (32 - ${length%%/*})))
    FIRST=$((((a << 24) + (b << 16) + (c << 8) + d) / size * size))
    LAST=$((FIRST + size - 1))
}

# meeting NETWORK RANGE: MEETING is `within` if the network is in the range, `around` if the range is a part of it, and empty if they have
# nothing in common.
meeting() {
    local first last
    ends "$2"
    first=$FIRST last=$LAST MEETING=
    ends "$1"
    if [ "$FIRST" -ge "$first" ] && [ "$LAST" -le "$last" ]; then
        MEETING=within
    elif [ "$FIRST" -le "$first" ] && [ "$LAST" -ge "$last" ]; then
        MEETING=around
    fi
}

# in_the_way RANGE NETWORKS within|around: the first of the networks that lies so, with its link.
in_the_way() {
    local network link
    while read -r network link; do
        [ -n "$network" ] || continue
        meeting "$network" "$1"
        [ "$MEETING" != "$3" ] || { echo "$network ($link)" && return; }
    done <<<"$2"
}

# free_range RANGE NETWORKS: another of that size which has nothing in common with the networks, if there is one nearby.
free_range() {
    local size base i candidate
    ends "$1"
    size=$((LAST - FIRST + 1)) base=$FIRST
    for ((i = 1; i * size < 1 << 24; i++)); do
        candidate=$(dotted $(((base & ~0xffffff) + ((base + i * size) & 0xffffff))))/${1#*/}
        [ -z "$(in_the_way "$candidate" "$2" within)$(in_the_way "$candidate" "$2" around)" ] || continue
        echo "$candidate"
        return
    done
}

# overlap FLAG RANGE OTHER_RANGE HINT: what is in the way of that range of the cluster on this host, and, after the hint, what would not be;
# nothing if it can be. What lies around the range is hidden by it, of which this warns.
overlap() {
    local networks found other
    networks=$(host_networks "$2" "$3")
    found=$(in_the_way "$2" "$networks" within)
    if [ -n "$found" ]; then
        other=$(free_range "$2" "$networks"$'\n'"$3 cluster")
        echo "$found of this host lies within --$1 $2, so what has an address there would not be reached: $4 $([ -n "$other" ] && echo "--$1 $other" || echo "another --$1")"
        return
    fi
    found=$(in_the_way "$2" "$networks" around)
    [ -z "$found" ] || warn "--$1 $2 is a part of $found of this host: what has an address there is not reached from here"
}

# fitting HINT: ends the script where one of the cluster's ranges can't be that here. A host that is part of the cluster by now is told, and
# goes on: most pods may be reached.
fitting() {
    local found pods services
    pods=$(v4 "$CLUSTER_CIDR") services=$(v4 "$SERVICE_CIDR")
    found=$(overlap cluster-cidr "$pods" "$services" "$1")
    [ -n "$found" ] || found=$(overlap service-cidr "$services" "$pods" "$1")
    [ -n "$found" ] || return 0
    [ -z "${REMEMBERED[cluster-cidr]-}" ] || { warn "$found" && return; }
    die "$found"
}
