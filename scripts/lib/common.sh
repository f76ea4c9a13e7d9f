# Sourced by the scripts: paths, messages, and the two ways of waiting. Not for running by itself.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '\033[1;34m==>\033[0m %s\n' "$*" >&2; }
warn() { printf '\033[1;33mwarning:\033[0m %s\n' "$*" >&2; }
die() {
    printf '\033[1;31merror:\033[0m %s\n' "$*" >&2
    exit 1
}

# usage FILE: prints the comment at the head of a script, which is its help.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$1"; }

# v4 RANGES, v6 RANGES: that of the family, of one range or of one of each family with a comma between them; nothing if there is none.
v4() { tr , '\n' <<<"$1" | grep -v : || true; }
v6() { tr , '\n' <<<"$1" | grep : || true; }

# eventually SECONDS WHAT COMMAND…: waits until the command succeeds; dies naming WHAT when it has not in time.
eventually() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || die "timed out waiting for $what"
        sleep 0.1
    done
}

# started PID: when the process started, in ticks since boot: process ids are used again. Fails for one that does not run,
# which a zombie, left by an init that does not reap, doesn't, unless threads of it still do, with its files and ports.
started() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # the fields behind the name, which may contain anything
    set -- ${stat##*) }
    case $1 in X) return 1 ;; Z) [ "${18}" -gt 1 ] || return 1 ;; esac
    echo "${20}"
}

# record PIDFILE PID: the process of a program, for `alive`.
record() { echo "$2 $(started "$2" || true)" >"$1"; }

# alive PIDFILE: whether the process that was recorded runs.
alive() {
    local pid since
    { read -r pid since <"$1"; } 2>/dev/null && [ -n "$since" ] && [ "$(started "$pid")" = "$since" ]
}

# as_root COMMAND…: with sudo unless already root.
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# dotted NUMBER: the address.
dotted() { echo "$(($1 >> 24 & 255)).$(($1 >> 16 & 255)).$(($1 >> 8 & 255)).$(($1 & 255))"; }
