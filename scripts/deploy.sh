#!/usr/bin/env bash
# Rolls the programs as they were built out to hosts that scripts/install.sh or a package has made masters or workers: over ssh, masters
# first, one host after the other. On each, one program after the other is started anew and has to be ready before the next one's turn;
# pods and Services go on. If a program does not get ready, or this is interrupted, that host and those before it go back to the version
# that they had.
#
#   scripts/deploy.sh HOST…              as ssh knows them: names, user@name
#
#   --bin DIR          the programs (those of the last build: release, or else debug)
#   --release NAME     what to call this version (a hash of the programs)
#   --ssh COMMAND      how to get there ('ssh -o BatchMode=yes'); whoever logs in is root, or may use sudo without a password
#   --patience SECONDS until a program must be ready (120)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$ROOT/scripts/lib/releases.sh"

hosts=() bin='' release='' ssh='ssh -o BatchMode=yes' patience=120
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && exit ;;
    --bin | --release | --ssh | --patience)
        declare "${1#--}=${2:?$1 needs a value}"
        shift
        ;;
    -*) die "unknown argument $1 (see $0 --help)" ;;
    *) hosts+=("$1") ;;
    esac
    shift
done
[ ${#hosts[@]} -gt 0 ] || die "which hosts? (see $0 --help)"
bin=${bin:-$(built)}
release=${release:-$(hash_of "$bin" master worker)}
# Where a host keeps what it is sent, by this run alone: nobody but root can put anything there.
INCOMING=$LIB/incoming-$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')
# What each host is, and which version it had.
declare -A ROLES=() BEFORE=()
# Hosts that may have another version by now, the one at work last.
begun=()

# on HOST SCRIPT: as root.
on() {
    # shellcheck disable=SC2086 # a command and its arguments
    $ssh "$1" "if [ \$(id -u) = 0 ]; then exec bash --norc -euc $(quoted "$2"); else exec sudo -n bash --norc -euc $(quoted "$2"); fi"
}

quoted() { printf '%q' "$1"; }

# in_force HOST: which version is, once nothing is under way there: an installation goes on, or back, when its connection is cut.
in_force() { on "$1" "exec 9>>$LOCK; flock -w $((10 * patience)) 9; basename \$(readlink $CURRENT)" </dev/null; }

# ask HOST: before anything is changed anywhere.
ask() {
    local said
    said=$(on "$1" "cd $UNITS && ls minik8s-*.target 2>/dev/null | sed 's/minik8s-//; s/\.target//' | xargs; { readlink $BEFORE_IT || readlink $CURRENT; } | xargs -r basename") </dev/null ||
        die "$1 can't be reached with: $ssh $1"
    { read -r "ROLES[$1]" && read -r "BEFORE[$1]"; } <<<"$said" ||
        die "$1 is neither a master nor a worker: run scripts/install.sh there first, or install a package"
}

# upload HOST: the programs, and the scripts that put them in force. What a run left that was cut off is old by now.
upload() {
    {
        # shellcheck disable=SC2046,SC2086 # names of programs and roles
        tar -C "$bin" -c --transform 's#^#bin/#' $(programs ${ROLES[$1]}) -f -
    } | on "$1" "find $LIB -maxdepth 1 -name 'incoming*' -mmin +1440 -exec rm -rf {} + && mkdir $INCOMING && tar -C $INCOMING -x --no-same-owner -f -" &&
        tar -C "$ROOT" -c README.md LICENSE scripts deploy/systemd deploy/images -f - |
        on "$1" "tar -C $INCOMING -x --no-same-owner -f -"
}

# roll_out HOST: fails when the host runs its old version, again. Bash heeds no signal while a command runs, unless it waits for one in the background.
roll_out() {
    say "$1 (${ROLES[$1]}): from ${BEFORE[$1]} to $release"
    upload "$1" || return 1
    on "$1" "echo \$\$ >$INCOMING/pid; [ ! -e $INCOMING/stopped ]; MINIK8S_PATIENCE=$patience exec $INCOMING/scripts/install.sh ${ROLES[$1]} --bin $INCOMING/bin --release $release" </dev/null &
    wait $!
}

# stop HOST: the installation there goes back; one that is about to begin does not.
stop() {
    on "$1" "touch $INCOMING/stopped; pid=\$(cat $INCOMING/pid); ! grep -qs $INCOMING /proc/\$pid/cmdline || kill \$pid" </dev/null 2>/dev/null
}

# go_back HOST: to the version that it had.
go_back() {
    say "$1: back to ${BEFORE[$1]}"
    on "$1" "MINIK8S_PATIENCE=$patience $INCOMING/scripts/install.sh --switch ${BEFORE[$1]}" </dev/null ||
        warn "$1 does not run version ${BEFORE[$1]}: look at journalctl -u 'minik8s-*' there"
}

clean_up() {
    local each
    for each in "${begun[@]}"; do on "$each" "rm -rf $INCOMING" </dev/null || true; done
}

# roll_back: hosts that have not gone back by themselves, or that were cut off, do. That can't be interrupted, and nobody may be listening any more.
roll_back() {
    local i
    trap '' HUP INT TERM PIPE
    set +e
    for ((i = ${#begun[@]} - 1; i >= 0; i--)); do
        [ "$(in_force "${begun[i]}")" = "${BEFORE[${begun[i]}]}" ] || go_back "${begun[i]}"
    done
    clean_up
}

# interrupted CODE: ends this script with it.
interrupted() {
    trap '' HUP INT TERM PIPE
    set +e
    warn "interrupted: going back"
    [ ${#begun[@]} -eq 0 ] || stop "${begun[-1]}"
    roll_back
    warn "version $release is not rolled out: this was interrupted"
    exit "$1"
}

in_order() {
    local role host
    for role in 'master*' worker; do
        for host in "${hosts[@]}"; do
            # shellcheck disable=SC2053 # a pattern
            [[ ${ROLES[$host]} != $role ]] || echo "$host"
        done
    done
}

for host in "${hosts[@]}"; do ask "$host"; done
mapfile -t hosts < <(in_order)
trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
for host in "${hosts[@]}"; do
    begun+=("$host")
    if ! roll_out "$host"; then
        roll_back
        die "version $release is not rolled out: see above what was wrong on $host"
    fi
done
# All hosts have it.
trap '' HUP INT TERM
clean_up
say "version $release runs on ${hosts[*]}"
