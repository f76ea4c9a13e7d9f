#!/usr/bin/env bash
# Writes what a Prometheus needs to watch over the cluster that scripts/up.sh has made: its configuration, alert rules, and a
# certificate that may read metrics, and which nodes, pods and Services there are (pods with their environment, but no Secrets). Then
#
#   prometheus --config.file /etc/minik8s/monitoring/prometheus.yml
#
# runs it here (as a user who may read the key there: root, or prometheus). For a Prometheus on another host, which the folder is copied
# to, and for other hosts' kube-proxies, the programs must serve their metrics beyond this one: scripts/up.sh --monitoring, then this again.
# Prometheus is in apt (2.42 will do).
#
#   scripts/monitoring.sh
#
#   --output DIR          the folder (/etc/minik8s/monitoring)
#   --grafana IMAGE       also run Grafana with dashboards of the cluster, of pods and of functions, as the Service monitoring/grafana
#   --prometheus URL      where Grafana finds Prometheus (port 9090 of this host, where its pods may reach it)
#   --cadvisor IMAGE      also run cAdvisor, on as many nodes as there are, for what the kubelets don't tell
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/cluster.sh"

output='' grafana='' cadvisor='' prometheus=''
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && echo "$CLUSTER_FLAGS" && exit ;;
    --output | --grafana | --prometheus | --cadvisor)
        declare "${1#--}=${2:?$1 needs a value}"
        shift
        ;;
    *)
        cluster_flag "$1" "${2-}" || die "unknown argument $1 (see $0 --help)"
        [ -n "${2-}" ] || die "$1 needs a value"
        shift
        ;;
    esac
    shift
done
settle
FROM=$ROOT/deploy/monitoring
OUTPUT=${output:-$CONFIG_DIR/monitoring}
KUBECONFIG=$CONFIG_DIR/admin.conf
export KUBECONFIG
[ -e "$KUBECONFIG" ] || die "no cluster in $CONFIG_DIR: scripts/up.sh makes one"
profile=release
! $DEBUG || profile=debug
BIN=${CARGO_TARGET_DIR:-$ROOT/target}/$profile
! $ONE_FILE || BIN=$BIN/one-file
SERVER=$(sed -n 's/.*server: *//p' "$KUBECONFIG" | tr -d "\"'")
HOST=${SERVER#https://}
HOST=${HOST%:*}

# file NAME: the file that the kubeconfig has within it under that name.
file() { sed -n "s/^.*$1: *//p" "$OUTPUT/kubeconfig" | tr -d "\"'" | base64 -d; }

write_certificate() {
    "$BIN/apiserver" kubeconfig --data-dir "$STATE_DIR/apiserver" --server "$SERVER" --output "$OUTPUT/kubeconfig" \
        --user prometheus --group system:monitoring
    file certificate-authority-data >"$OUTPUT/ca.crt"
    file client-certificate-data >"$OUTPUT/client.crt"
    file client-key-data >"$OUTPUT/client.key"
    # Debian's runs as a user of its own.
    ! getent group prometheus >/dev/null || { chgrp prometheus "$OUTPUT/client.key" && chmod 640 "$OUTPUT/client.key"; }
}

write_configuration() {
    local change=(-e "s#https://127.0.0.1:6443/#$SERVER/#") port
    # Else they answer at this host alone.
    $MONITORING || change+=(-e "s#\\\$1:\(10257\|10259\)'#127.0.0.1:\1'#" -e "s#\\\$1:10249'#127.0.0.1:$(port 10256)'#")
    for port in 10257 10259 8081 10249; do change+=(-e "s#:$port'#:$(port $port)'#"); done
    sed "${change[@]}" "$FROM/prometheus.yml" >"$OUTPUT/prometheus.yml"
    cp "$FROM/rules.yml" "$OUTPUT/rules.yml"
}

# apply FILE IMAGE: a manifest with another image.
apply() { sed "s#^\( *image:\).*#\1 $2#" "$FROM/$1" | "$BIN/kubectl" apply -f -; }

run_grafana() {
    local url=${prometheus:-http://$HOST:$(port 9090)} name
    "$BIN/kubectl" create namespace monitoring --dry-run=client -o yaml | "$BIN/kubectl" apply -f -
    for name in dashboards grafana; do
        "$BIN/kubectl" -n monitoring create configmap "$name" --dry-run=client -o yaml --from-file "$FROM/$name" |
            sed "s#http://prometheus:9090#$url#" | "$BIN/kubectl" apply -f -
    done
    # One that runs keeps the files it began with.
    ! "$BIN/kubectl" -n monitoring rollout restart deployment/grafana 2>/dev/null || say "Grafana is started anew"
    apply grafana.yaml "$1"
}

run_cadvisor() {
    local nodes
    "$BIN/kubectl" create namespace monitoring --dry-run=client -o yaml | "$BIN/kubectl" apply -f -
    apply cadvisor.yaml "$1"
    nodes=$("$BIN/kubectl" get nodes -o name | wc -l)
    "$BIN/kubectl" -n monitoring scale deployment/cadvisor --replicas="$nodes"
}

# A folder that is there stays as open as it is.
[ -d "$OUTPUT" ] || install -d -m 755 "$OUTPUT"
(umask 077 && write_certificate)
chmod 644 "$OUTPUT"/*.crt
write_configuration
[ -z "$grafana" ] || run_grafana "$grafana"
[ -z "$cadvisor" ] || run_cadvisor "$cadvisor"
$MONITORING || say "for a Prometheus on this host; on another one it needs scripts/up.sh --monitoring first"
say "run it:  prometheus --config.file $OUTPUT/prometheus.yml"
