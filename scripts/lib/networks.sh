# Sourced by up.sh, join.sh and install.sh: whether networks of this host are in the way of the cluster's. Not for running by itself.
# shellcheck shell=bash

# host_networks FAMILY RANGE…: where the host's routes of the family (4 or 6) lead, their routers, and its own addresses, each with its link. What is
# ours is not among them: kubelets' bridges, Weave Net's, the VXLAN, Services' addresses, routes to the pods of other nodes, and what keeps packets for the
# ranges here; on a host that is part of the cluster by now, also the bridge that plugins of CNI make. A route over several links has a line for each.
host_networks() {
    local links='^(mk8s.*|weave)$' family=$1
    shift
    # install.sh remembers nothing.
    [[ $(declare -p REMEMBERED 2>/dev/null) != *'[cluster-cidr]='* ]] || links='^(mk8s.*|weave|cni0)$'
    ip "-$family" route show | awk -v ours=" $* " -v links="$links" '
        function after(word, i) { for (i = 1; i < NF; i++) if ($i == word) return $(i + 1) }
        function is_network(text) { return text ~ /^[0-9]+\.[0-9.\/]+$/ || text ~ /^[0-9a-f]*:[0-9a-f:]+[0-9\/]*$/ }
        after("proto") == 138 || after("dev") ~ links || $1 == "blackhole" && index(ours, " " $2 " ") {next}
        # Addresses of IPv6 are routes, too.
        after("dev") == "lo" && after("proto") == "kernel" {next}
        {is_kind = $1 ~ /^[a-z]+$/; network = is_kind ? $2 : $1; link = after("dev")}
        # What leads nowhere has a link with IPv6.
        is_kind && is_network(network) {link = $1}
        link == "" {link = is_kind ? $1 : "several links"}
        is_network(network) {print network, link}
        is_network(after("via")) {print after("via"), link}'
    ip "-$family" -o addr show | awk -v links="$links" '$2 != "lo" && $2 !~ links {sub("/.*", "", $4); print $4, $2}'
}

# digits ADDRESS: DIGITS, hexadecimal: 8, or 32. `::` stands for as many zeros as are missing.
digits() {
    local a b c d head tail=() zeros=00000000000000000000000000000000
    if [[ $1 != *:* ]]; then
        IFS=. read -r a b c d <<<"$1"
        printf -v DIGITS %02x "$a" "$b" "$c" "$d"
        return
    fi
    IFS=: read -ra head <<<"${1%%::*}"
    [[ $1 != *::* ]] || IFS=: read -ra tail <<<"${1#*::}"
    a='' b=''
    [ ${#head[@]} -eq 0 ] || printf -v a %04x "${head[@]/#/0x}"
    [ ${#tail[@]} -eq 0 ] || printf -v b %04x "${tail[@]/#/0x}"
    DIGITS=$a${zeros:${#a} + ${#b}}$b
}

# ends NETWORK: FIRST and LAST, the digits of its addresses. An address is a network of one.
ends() {
    local all length digit rest
    digits "${1%/*}"
    all=$DIGITS length=$((4 * ${#DIGITS}))
    [[ $1 != */* ]] || length=${1#*/}
    FIRST=${all:0:length / 4} LAST=${all:0:length / 4}
    [ ${#FIRST} -lt ${#all} ] || return 0
    digit=$((16#${all:length / 4:1})) rest=$((15 >> length % 4))
    printf -v FIRST %s%x "$FIRST" $((digit & ~rest))
    printf -v LAST %s%x "$LAST" $((digit | rest))
    while [ ${#FIRST} -lt ${#all} ]; do FIRST+=0 LAST+=f; done
}

# meeting NETWORK RANGE: MEETING is `within` if the network is in the range, `around` if the range is a part of it, and empty if they have
# nothing in common.
meeting() {
    local first last
    ends "$2"
    first=$FIRST last=$LAST MEETING=
    ends "$1"
    # Of another family.
    [ ${#FIRST} -eq ${#first} ] || return 0
    if [[ ! $FIRST < $first && ! $LAST > $last ]]; then
        MEETING=within
    elif [[ ! $FIRST > $first && ! $LAST < $last ]]; then
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

# next_range RANGE N: the Nth of that size after it, and then from the first of its 10.0.0.0/8 or the like; of IPv6, with another third part. Fails if
# there is none.
next_range() {
    local base size third
    ends "$1"
    if [[ $1 != *:* ]]; then
        base=$((16#$FIRST)) size=$((16#$LAST - 16#$FIRST + 1))
        [ $(($2 * size)) -lt $((1 << 24)) ] || return 1
        echo "$(dotted $(((base & ~0xffffff) + ((base + $2 * size) & 0xffffff))))/${1#*/}"
        return
    fi
    [ "${1#*/}" -ge 48 ] && [ "$2" -lt 1024 ] || return 1
    third=$(printf %04x $(((16#${FIRST:8:4} + $2) & 0xffff)))
    echo "$(sed -E 's/.{4}/&:/g; s/:$//; s/(^|:)0{1,3}/\1/g; s/(:0)+$/::/' <<<"${FIRST:0:8}$third${FIRST:12}")/${1#*/}"
}

# free_range RANGE NETWORKS: another of that size which has nothing in common with the networks, if there is one nearby.
free_range() {
    local i candidate
    for ((i = 1; ; i++)); do
        candidate=$(next_range "$1" "$i") || return 0
        [ -z "$(in_the_way "$candidate" "$2" within)$(in_the_way "$candidate" "$2" around)" ] || continue
        echo "$candidate"
        return
    done
}

# overlap FLAG RANGES OTHER_RANGES HINT: what is in the way of those ranges of the cluster on this host, and, after the hint, what would not be;
# nothing if they can be. What lies around a range is hidden by it, of which this warns.
overlap() {
    local range family networks found other
    for range in ${2//,/ }; do
        [[ $range == *:* ]] && family=6 || family=4
        # shellcheck disable=SC2086 # a list
        networks=$(host_networks $family "$range" ${3//,/ })
        found=$(in_the_way "$range" "$networks" within)
        if [ -n "$found" ]; then
            other=$(free_range "$range" "$networks"$'\n'"$(printf '%s cluster\n' ${3//,/ })")
            echo "$found of this host lies within --$1 $range, so what has an address there would not be reached: $4 $([ -n "$other" ] && echo "--$1 ${2/"$range"/"$other"}" || echo "another --$1")"
            return
        fi
        found=$(in_the_way "$range" "$networks" around)
        [ -z "$found" ] || warn "--$1 $range is a part of $found of this host: what has an address there is not reached from here"
    done
}

# families RANGES: of each, in order.
families() { tr , '\n' <<<"$1" | sed 's/.*:.*/6/; s/.*\..*/4/' | xargs; }

# of_families: ends the script where the cluster's ranges are not of one family each, or this host does not have the other family.
of_families() {
    local name ranges
    for name in cluster-cidr service-cidr; do
        ranges=$CLUSTER_CIDR
        [ $name = cluster-cidr ] || ranges=$SERVICE_CIDR
        case $(families "$ranges") in
        4 | '4 6') ;;
        *) die "--$name $ranges: must be a range of IPv4, or one of IPv4 and behind a comma one of IPv6 (${DEFAULTS[$name]},$([ $name = cluster-cidr ] && echo fd00:10:244::/56 || echo fd00:10:96::/112))" ;;
        esac
    done
    [ "$(families "$CLUSTER_CIDR")" = "$(families "$SERVICE_CIDR")" ] || die "--cluster-cidr $CLUSTER_CIDR, --service-cidr $SERVICE_CIDR: both need a range of IPv6, or neither"
    [ "$(families "$CLUSTER_CIDR")" = 4 ] || ip -6 -o addr show dev lo | grep . >/dev/null ||
        die "this host has no IPv6 (sysctl net.ipv6.conf.lo.disable_ipv6), of which --cluster-cidr and --service-cidr have ranges"
}

# fitting HINT: ends the script where one of the cluster's ranges can't be that here. A host that is part of the cluster by now is told, and
# goes on: most pods may be reached.
fitting() {
    local found
    of_families
    found=$(overlap cluster-cidr "$CLUSTER_CIDR" "$SERVICE_CIDR" "$1")
    [ -n "$found" ] || found=$(overlap service-cidr "$SERVICE_CIDR" "$CLUSTER_CIDR" "$1")
    [ -n "$found" ] || return 0
    [ -z "${REMEMBERED[cluster-cidr]-}" ] || { warn "$found" && return; }
    die "$found"
}
