# Sourced by up.sh, join.sh and down.sh: where a one-machine cluster keeps its things, the flags that move them, and their memory.
# shellcheck shell=bash disable=SC2034 # the variables are used by the scripts that source this

declare -A DEFAULTS=(
    [config-dir]=/etc/minik8s [state-dir]=/var/lib/minik8s [log-dir]=/var/log/minik8s [run-dir]=/run/minik8s
    [cluster-cidr]=10.244.0.0/16 [service-cidr]=10.96.0.0/16 [port-offset]=0
    [store]=embedded [redis]=false [registry]=false [warm-pool]=0 [nodes]=1 [one-file]=false [secrets-encryption]=false [monitoring]=false [publish-ports]=false [ingress-host-ports]=false [debug]=false [node-name]="$(hostname | tr '[:upper:]' '[:lower:]')"
    [registry-host]= [registry-secret]= [package-index]= [build-network]=bridge [cluster-dns]=tenth [dns-upstream]= [proxy-mode]=nginx [nginx]=per-service [network-plugin]=bridge [load-balancer-pool]= [redis-url]= [node-ip]= [node-labels]=
)
# What a cluster that exists can't change: its data, certificates and addresses are made for it.
FIXED="store cluster-cidr service-cidr port-offset node-name network-plugin"
# What the flags of this run say, and what the flags of earlier runs said.
declare -A GIVEN=() REMEMBERED=()

# The flags that both scripts take, for their help.
CLUSTER_FLAGS='
Where things are (the same flags for up.sh and down.sh):
  --config-dir DIR      kubeconfigs                (/etc/minik8s)
  --state-dir DIR       data                       (/var/lib/minik8s)
  --log-dir DIR         logs                       (/var/log/minik8s)
  --run-dir DIR         process ids                (/run/minik8s)
  --cluster-cidr CIDR[,CIDR]   addresses of pods, and of IPv6, too    (10.244.0.0/16)
  --service-cidr CIDR[,CIDR]   addresses of services, as well         (10.96.0.0/16)
  --port-offset N       added to every port, for a second cluster on this machine'

# give NAME VALUE: what a flag of this run says.
give() { GIVEN[$1]=$2; }

# cluster_flag FLAG VALUE: takes one of the flags above; fails if it is none of them.
cluster_flag() {
    case "$1" in
    --config-dir | --state-dir | --log-dir | --run-dir | --cluster-cidr | --service-cidr | --port-offset) give "${1#--}" "$2" ;;
    *) return 1 ;;
    esac
}

# switch NAME=VALUE: a flag that is true or false.
switch() {
    case "${1#*=}" in true | false) give "${1%%=*}" "${1#*=}" ;; *) die "--$1: must be true or false" ;; esac
}

# setting NAME: the flag of this run, else of the run that made the cluster, else the default.
setting() { echo "${GIVEN[$1]-${REMEMBERED[$1]-${DEFAULTS[$1]}}}"; }

# shown: the settings that are not the defaults, and where those that this run was not told come from.
shown() {
    local name words=()
    for name in $(printf '%s\n' "${!DEFAULTS[@]}" | sort); do
        [ "$(setting "$name")" = "${DEFAULTS[$name]}" ] || words+=("$name=$(setting "$name")$(origin "$name")")
    done
    [ ${#words[@]} -gt 0 ] && echo "${words[*]}" || echo "the usual settings"
}

# origin NAME: a remark where the setting is an earlier run's.
origin() { [ -n "${GIVEN[$1]+given}" ] || echo " (as before)"; }

# settle: reads what earlier runs said, refuses what contradicts it, and sets the variables that the scripts use.
settle() {
    STATE_DIR=${GIVEN[state-dir]:-${DEFAULTS[state-dir]}}
    recall
    local name
    for name in $FIXED; do
        [ "${GIVEN[$name]:-${REMEMBERED[$name]:-}}" = "${REMEMBERED[$name]:-${GIVEN[$name]:-}}" ] ||
            die "the cluster in $STATE_DIR has $name ${REMEMBERED[$name]}, not ${GIVEN[$name]}: \
scripts/down.sh --purge removes it, another --state-dir (with --config-dir, --log-dir, --run-dir, --port-offset) makes a second one"
    done
    CONFIG_DIR=$(setting config-dir) LOG_DIR=$(setting log-dir) RUN_DIR=$(setting run-dir)
    CLUSTER_CIDR=$(setting cluster-cidr) SERVICE_CIDR=$(setting service-cidr) PORT_OFFSET=$(setting port-offset)
    STORE=$(setting store) REDIS=$(setting redis) REGISTRY=$(setting registry) WARM_POOL=$(setting warm-pool) NODES=$(setting nodes) ONE_FILE=$(setting one-file) MONITORING=$(setting monitoring) DEBUG=$(setting debug) NODE_NAME=$(setting node-name)
}

# cluster_dns: where pods ask for names: what the setting says, or the tenth address of services, of IPv4.
cluster_dns() {
    local network a b c d
    network=$(v4 "$SERVICE_CIDR") network=${network%/*}
    [ "$(setting cluster-dns)" = tenth ] || { setting cluster-dns && return; }
    IFS=. read -r a b c d <<<"$network"
    dotted $(((a << 24) + (b << 16) + (c << 8) + d + 10))
}

# recall: the settings of the cluster in STATE_DIR, as `remember` wrote them.
recall() {
    local name value
    # A cluster from before there was this file.
    [ ! -e "$STATE_DIR/apiserver/store.redb" ] || REMEMBERED[store]=embedded
    [ ! -d "$STATE_DIR/etcd" ] || REMEMBERED[store]=etcd
    [ -e "$STATE_DIR/cluster.conf" ] || return 0
    while IFS='=' read -r name value; do REMEMBERED[$name]=$value; done <"$STATE_DIR/cluster.conf"
}

# remember: writes the settings down for the next run. The file is there whole or not at all.
remember() {
    local name
    for name in "${!DEFAULTS[@]}"; do
        [ "$name" = state-dir ] || echo "$name=$(setting "$name")"
    done | sort >"$STATE_DIR/cluster.conf.new"
    sync "$STATE_DIR/cluster.conf.new"
    mv "$STATE_DIR/cluster.conf.new" "$STATE_DIR/cluster.conf"
}

# encryption_config FILE: what Secrets are encrypted with in the store, unless it is there: whoever loses the key loses them. With another key
# nobody would read those that are there: a cluster that has encrypted some gets no new one.
encryption_config() {
    [ ! -s "$1" ] || return 0
    if [ "${REMEMBERED[secrets-encryption]:-}" = true ] && { [ -e "${1%/*}/pki" ] || [ -e "${1%/*}/store.redb" ]; }; then
        die "$1 is missing, and with it the key of the Secrets in the store: restore it from a backup, \
or give the cluster up (scripts/down.sh --purge). Only if no Secret is encrypted: scripts/up.sh --secrets-encryption=false"
    fi
    (
        umask 077
        mkdir -p "${1%/*}"
        cat >"$1.new" <<END
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox: {keys: [{name: key1, secret: $(head -c 32 /dev/urandom | base64)}]}
  - identity: {}
END
        sync "$1.new"
        mv "$1.new" "$1"
    )
}

# A server that does not answer is not a cluster whose pods run.
pods_running() {
    local pods
    pods=$(kubectl get pods --no-headers) && [ -n "$pods" ] &&
        awk '{split($2, r, "/"); if ($3 != "Running" || r[1] != r[2]) bad = 1} END {exit bad}' <<<"$pods"
}

# port N: a standard port, moved by the offset.
port() { echo $(($1 + PORT_OFFSET)); }

# stop PIDFILE SECONDS: ends a process, by force if it has not ended in time.
stop() {
    local pid
    if alive "$1"; then
        read -r pid _ <"$1"
        end "$1" "$pid" "$2" || end "$1" "$pid" 10 -9 || { warn "process $pid can't be ended" && return; }
    fi
    rm -f "$1"
}

# end PIDFILE PID SECONDS [-SIGNAL]: whether the process has ended in time once it was signalled.
end() {
    local deadline=$((SECONDS + $3))
    kill ${4:+"$4"} "$2" 2>/dev/null || ! alive "$1"
    while alive "$1"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}
