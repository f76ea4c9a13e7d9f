# Sourced by up.sh, join.sh and down.sh: where a one-machine cluster keeps its things, the flags that move them, and their memory.
# shellcheck shell=bash disable=SC2034 # the variables are used by the scripts that source this

declare -A DEFAULTS=(
    [config-dir]=/etc/minik8s [state-dir]=/var/lib/minik8s [log-dir]=/var/log/minik8s [run-dir]=/run/minik8s
    [cluster-cidr]=10.244.0.0/16 [service-cidr]=10.96.0.0/16 [port-offset]=0
    [store]=embedded [redis]=false [registry]=false [warm-pool]=0 [nodes]=1 [one-file]=false [monitoring]=false [publish-ports]=false [ingress-host-ports]=false [debug]=false [node-name]="$(hostname | tr '[:upper:]' '[:lower:]')"
    [registry-host]= [registry-secret]= [package-index]= [build-network]=bridge [cluster-dns]=tenth [dns-upstream]= [proxy-mode]=nginx [redis-url]= [node-ip]= [node-labels]=
)
# What a cluster that exists can't change: its data, certificates and addresses are made for it.
FIXED="store cluster-cidr service-cidr port-offset node-name"
# What the flags of this run say, and what the flags of earlier runs said.
declare -A GIVEN=() REMEMBERED=()

# The flags that both scripts take, for their help.
CLUSTER_FLAGS='
Where things are (the same flags for up.sh and down.sh):
  --config-dir DIR      kubeconfigs                (/etc/minik8s)
  --state-dir DIR       data                       (/var/lib/minik8s)
  --log-dir DIR         logs                       (/var/log/minik8s)
  --run-dir DIR         process ids                (/run/minik8s)
  --cluster-cidr CIDR   addresses of pods          (10.244.0.0/16)
  --service-cidr CIDR   addresses of services      (10.96.0.0/16)
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
