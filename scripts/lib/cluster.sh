# Sourced by up.sh and down.sh: where a one-machine cluster keeps its things, and the flags that move them.
# shellcheck shell=bash disable=SC2034 # the variables are used by the scripts that source this

CONFIG_DIR=/etc/minik8s
STATE_DIR=/var/lib/minik8s
LOG_DIR=/var/log/minik8s
RUN_DIR=/run/minik8s
CLUSTER_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
PORT_OFFSET=0

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

# cluster_flag FLAG VALUE: takes one of the flags above; fails if it is none of them.
cluster_flag() {
    case "$1" in
    --config-dir) CONFIG_DIR=$2 ;;
    --state-dir) STATE_DIR=$2 ;;
    --log-dir) LOG_DIR=$2 ;;
    --run-dir) RUN_DIR=$2 ;;
    --cluster-cidr) CLUSTER_CIDR=$2 ;;
    --service-cidr) SERVICE_CIDR=$2 ;;
    --port-offset) PORT_OFFSET=$2 ;;
    *) return 1 ;;
    esac
}

# port N: a standard port, moved by the offset.
port() { echo $(($1 + PORT_OFFSET)); }

# stop PIDFILE SECONDS: ends a process, by force if it has not ended in time.
stop() {
    local pid deadline=$((SECONDS + $2))
    if alive "$1"; then
        pid=$(cat "$1")
        kill "$pid"
        while alive "$1" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.05; done
        ! alive "$1" || kill -9 "$pid"
    fi
    rm -f "$1"
}
