#!/usr/bin/env bash
# Installs minik8s on this host, for systemd to run: the programs as they were built, their units, the files of their flags, a user.
# Again at any time: what is installed already is replaced by what is built now, program by program, each of which has to be ready
# before the next one's turn; if one is not, the version before, which stays beside it, is started again. Pods and Services go on
# meanwhile. Files in /etc/minik8s stay as they are.
#
#   scripts/install.sh master            API server, scheduler, controllers, serverless gateway, kubectl
#   scripts/install.sh worker            kubelet and kube-proxy, which start once the host has joined a cluster; images, if Docker answers
#   scripts/install.sh master worker     both
#   scripts/install.sh --switch NAME     goes back, or on, to another version that is installed
#   scripts/install.sh --uninstall       removes programs and units; pods and Services go on, data and configuration stay
#   scripts/install.sh --uninstall --purge     and removes those too, with containers, addresses, routes and rules
#
#   --bin DIR        the programs (those of the last build: release, or else debug)
#   --release NAME   what to call this version (a hash of the programs)
#   --root DIR       into this folder, as for a package: nobody is told, and no user is made
#   --no-start       do not start anything, nor again what runs
#
# Then: the flags are in /etc/minik8s/*.env; systemctl status 'minik8s-*'; journalctl -u minik8s-apiserver.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$ROOT/scripts/lib/releases.sh"
. "$ROOT/scripts/lib/leftovers.sh"
. "$ROOT/scripts/lib/networks.sh"

# Until a program must be ready.
PATIENCE=${MINIK8S_PATIENCE:-120}
roles=() command=install release='' start=true purge=false bin='' before=''
# Whoever logs in over ssh may have another.
umask 022
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage "$0" && exit ;;
    master | worker) roles+=("$1") ;;
    --bin) bin=${2:?--bin needs a directory} && shift ;;
    --release) release=${2:?--release needs a name} && shift ;;
    --root) PREFIX=${2:?--root needs a directory} && shift ;;
    --switch) command=go_to release=${2:?--switch needs a version} && shift ;;
    --uninstall) command=uninstall ;;
    --purge) purge=true ;;
    --no-start) start=false ;;
    *) die "unknown argument $1 (see $0 --help)" ;;
    esac
    shift
done
[ -n "$PREFIX" ] || [ "$(id -u)" = 0 ] || die "needs root: sudo $0"
! $purge || [ $command = uninstall ] || die "--purge goes with --uninstall"

# Everything that is installed, whatever this run names: programs of two versions would not do.
all_roles() {
    { printf '%s\n' "${roles[@]}" && installed_roles; } | sort -u | grep .
}

install() {
    local all
    [ ${#roles[@]} -gt 0 ] || [ -n "$(installed_roles)" ] || die "which role: master, worker? (see $0 --help)"
    mapfile -t all < <(all_roles)
    bin=${bin:-$(built)}
    release=${release:-$(hash_of "$bin" "${all[@]}")}
    say "installing version $release (${all[*]})"
    before=$(good_release)
    unpack "$bin" "$release" "${all[@]}"
    configure "${all[@]}"
    [ -n "$PREFIX" ] || make_user
    roles=("${all[@]}")
    go_to
    forget_old_releases "$before"
    [ -z "$PREFIX" ] && $start || return 0
    case " ${roles[*]} " in *' worker '*) look_at_networks && images ;; esac
}

# look_at_networks: warns; the ranges of the cluster may not be in its files yet.
look_at_networks() {
    local pods services found hint="the cluster needs another ($CONFIG/cluster.env), such as"
    pods=$(told MINIK8S_CLUSTER_CIDR kubelet 10.244.0.0/16) services=$(told MINIK8S_SERVICE_CIDR kubelet 10.96.0.0/16)
    found=$(overlap cluster-cidr "$pods" "$services" "$hint" && overlap service-cidr "$services" "$pods" "$hint")
    [ -z "$found" ] || warn "$found"
}

# go_to: puts the version in force. If a program does not get ready, or this is interrupted, goes back to the one that was in force before.
go_to() {
    before=$(good_release)
    [ ${#roles[@]} -gt 0 ] || mapfile -t roles < <(installed_roles)
    there_is "$release"
    if [ -n "$PREFIX" ] || ! $start; then
        put_in_force "$release"
        return
    fi
    remember "$before"
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap interrupted EXIT
    put_in_force "$release"
    restart || go_back "version $release does not run"
    trap - EXIT HUP INT TERM
    forget_before
}

# interrupted: something other than a program ends this script, such as a signal or a connection that is cut.
interrupted() {
    go_back "version $release is not ready, and this was interrupted"
}

# go_back WHY: ends this script with the version before in force, which has all its programs started. Nobody may be listening any more.
go_back() {
    trap - EXIT
    trap '' HUP INT TERM PIPE
    set +e
    if [ -z "$before" ] || [ "$before" = "$release" ]; then
        forget_before
        die "$1, and there is none before it"
    fi
    warn "$1: going back to $before"
    put_in_force "$before"
    forget_before
    restart_all || die "version $before does not run either"
    die "$1; $before does, again"
}

put_in_force() {
    local unit fresh=()
    for unit in $(units "${roles[@]}"); do [ -e "$PREFIX$UNITS/$unit" ] || fresh+=("$unit"); done
    switch_to "$1" "${roles[@]}"
    [ -z "$PREFIX" ] || return 0
    manager daemon-reload
    # What is there, somebody may have disabled.
    [ ${#fresh[@]} -eq 0 ] || manager enable "${fresh[@]}"
}

# restart: one after the other, as they need each other; the first that does not get ready ends it.
restart() {
    local unit
    for unit in $(units "${roles[@]}"); do renew "$unit" || return 1; done
}

# restart_all: the same, whatever becomes of each.
restart_all() {
    local unit failed=()
    for unit in $(units "${roles[@]}"); do renew "$unit" || failed+=("$unit"); done
    [ ${#failed[@]} -eq 0 ] || { warn "not ready: ${failed[*]}" && return 1; }
}

# renew UNIT: starts it again, and waits until it is ready. Those of a worker that has not joined yet are skipped by their conditions. A
# target only says that they belong together.
renew() {
    local enabled
    enabled=$(enablement "$1")
    case $enabled:$1 in
    masked*) ;;
    # Somebody does without it, or starts it by hand.
    disabled*.target | disabled*-etcd.service | disabled*-redis.service) ;;
    disabled*) manager try-restart "$1" && { ! manager is-active --quiet "$1" || gets_ready "$1"; } ;;
    # No programs of ours: no other version either.
    *-etcd.service | *-redis.service) comes_up "$1" ;;
    *.target) manager start "$1" ;;
    *) manager restart "$1" && gets_ready "$1" ;;
    esac
}

# comes_up UNIT: whether a store does in time. A member of etcd waits for a majority, and goes on with that when nobody waits for it.
comes_up() {
    [ -d /run/systemd/system ] || return 0
    timeout --foreground "$PATIENCE" systemctl start "$1" || { warn "$1 is not up after $PATIENCE s, or has failed" && return 1; }
}

# gets_ready UNIT: whether it does in time, if it is to run at all.
gets_ready() {
    local deadline=$((SECONDS + PATIENCE))
    [ -d /run/systemd/system ] && [ "$(systemctl show --property ConditionResult --value "$1")" != no ] || return 0
    until is_ready "$1"; do
        [ "$SECONDS" -lt "$deadline" ] || { warn "$1 is not ready after $PATIENCE s: $(readiness "$1" | tr '\n' ' ')" && return 1; }
        sleep 0.2
    done
}

# The programs run without them: a pod that wants one waits. What this starts must not hold the lock.
images() {
    if ! docker info >/dev/null 2>&1; then
        warn "Docker does not answer: run scripts/images.sh --programs $CURRENT when it does"
    else
        "$ROOT/scripts/images.sh" --programs "$CURRENT" 9>&- || warn "not all images are there: run scripts/images.sh --programs $CURRENT again"
    fi
}

uninstall() {
    local all
    # What is left of a role whose programs have gone before is to go too.
    ! $purge || [ ${#roles[@]} -gt 0 ] || mapfile -t roles < <({ installed_roles && left_roles; } | sort -u)
    [ ${#roles[@]} -gt 0 ] || mapfile -t roles < <(installed_roles)
    ! $purge || can_purge "${roles[@]}"
    mapfile -t all < <(units "${roles[@]}" | installed_units)
    if [ -z "$PREFIX" ] && [ ${#all[@]} -gt 0 ]; then
        manager disable "${all[@]}" || warn "not all units are disabled"
        manager stop "${all[@]}"
    fi
    [ -n "$PREFIX" ] || [[ " ${roles[*]} " != *' worker '* ]] || forget_dns "$(told MINIK8S_CLUSTER_DNS kube-proxy '')"
    say "removing ${roles[*]-nothing}"
    remove_programs "${roles[@]}"
    [ -n "$PREFIX" ] || manager daemon-reload
    ! $purge || purge_roles "${roles[@]}"
}

if [ -z "$PREFIX" ]; then
    exec 9>"$LOCK"
    # Who goes back waits for what is under way, such as an installation that lost its connection.
    case $command in go_to) flock -w $((10 * PATIENCE)) 9 ;; *) flock -n 9 ;; esac || die "another installation is under way on this host"
fi
"$command"
