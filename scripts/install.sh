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

# Until a program must be ready.
PATIENCE=${MINIK8S_PATIENCE:-120}
roles=() command=install release='' start=true purge=false bin=''
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
    unpack "$bin" "$release" "${all[@]}"
    configure "${all[@]}"
    [ -n "$PREFIX" ] || make_user
    roles=("${all[@]}")
    go_to
    forget_old_releases
}

# go_to: puts the version in force. If a program does not get ready, goes back to the one that was in force before.
go_to() {
    local before
    before=$(release_in_force)
    [ ${#roles[@]} -gt 0 ] || mapfile -t roles < <(installed_roles)
    put_in_force "$release"
    [ -z "$PREFIX" ] && $start || return 0
    if ! restart; then
        [ -n "$before" ] && [ "$before" != "$release" ] || die "version $release does not run, and there is none before it"
        warn "version $release does not run: going back to $before"
        put_in_force "$before"
        restart || die "version $before does not run either"
        die "version $release does not run; $before does, again"
    fi
    case " ${roles[*]} " in *' worker '*) images ;; esac
}

put_in_force() {
    switch_to "$1" "${roles[@]}"
    [ -z "$PREFIX" ] || return 0
    manager daemon-reload
    # shellcheck disable=SC2046 # names of units
    manager enable $(units "${roles[@]}")
}

# restart: one after the other, as they need each other. Those of a worker that has not joined yet are skipped by their conditions.
# A target only says that they belong together.
restart() {
    local unit
    for unit in $(units "${roles[@]}"); do
        case $unit in
        # No programs of ours: no other version either.
        *.target | minik8s-etcd.service | minik8s-redis.service) manager start "$unit" || return 1 ;;
        *) manager restart "$unit" && gets_ready "$unit" || return 1 ;;
        esac
    done
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

images() {
    if docker info >/dev/null 2>&1; then
        "$ROOT/scripts/images.sh" --programs "$CURRENT"
    else
        warn "Docker does not answer: run scripts/images.sh --programs $CURRENT when it does"
    fi
}

uninstall() {
    local all
    [ ${#roles[@]} -gt 0 ] || mapfile -t roles < <(installed_roles)
    mapfile -t all < <(units "${roles[@]}")
    if [ -z "$PREFIX" ] && [ ${#all[@]} -gt 0 ]; then
        manager disable "${all[@]}"
        manager stop "${all[@]}"
    fi
    say "removing ${roles[*]-nothing}"
    remove_programs "${roles[@]}"
    [ -n "$PREFIX" ] || manager daemon-reload
    ! $purge || purge_roles "${roles[@]}"
}

if [ -z "$PREFIX" ]; then
    exec 9>/run/minik8s-install.lock
    flock -n 9 || die "another installation is under way on this host"
fi
"$command"
