# Sourced by up.sh and join.sh: starting the programs of a host. Not for running by itself.
# shellcheck shell=bash disable=SC2154 # the variables are those of the scripts and of lib/cluster.sh

# current PIDFILE COMMAND…: whether that process is of the file that is there now, and was told the same. Redis names itself otherwise.
current() {
    local pid
    read -r pid _ <"$1"
    shift
    case $(readlink "/proc/$pid/exe") in *'(deleted)') return 1 ;; esac
    case $1 in "$BIN"/*) [ "$(tr '\0' '\n' <"/proc/$pid/cmdline")" = "$(printf '%s\n' "$@")" ] ;; esac
}

# start NAME COMMAND…: in the background, unless that runs already. It outlives this script.
start() {
    local name=$1 pidfile=$RUN_DIR/$1.pid
    shift
    if alive "$pidfile"; then
        ! current "$pidfile" "$@" || return 0
        stop "$pidfile" 10
    fi
    say "starting $name"
    setsid "$@" >>"$LOG_DIR/$name.log" 2>&1 </dev/null &
    record "$pidfile" $!
}

# ready NAME COMMAND…: waits until the command succeeds; stops at once if the program has ended.
ready() {
    local name=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        alive "$RUN_DIR/$name.pid" || die "$name has ended: $(tail -3 "$LOG_DIR/$name.log")"
        [ "$SECONDS" -lt "$deadline" ] || die "timed out waiting for $name (see $LOG_DIR/$name.log)"
        sleep 0.05
    done
}

healthy() { ready "$1" curl -fsS --max-time 5 "http://127.0.0.1:$2/readyz"; }

# guard RANGES: a packet for an address of them that nobody holds must not leave this machine.
guard() {
    local range family
    for range in ${1//,/ }; do
        family=-4
        [[ $range != *:* ]] || family=-6
        ip "$family" route show type blackhole "$range" | grep -q . || ip "$family" route add blackhole "$range" proto static
    done
}
