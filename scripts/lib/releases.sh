# Sourced by install.sh, package.sh and deploy.sh: what belongs to a host's role, and its versions side by side. Not for running by itself.
# shellcheck shell=bash

# In front of every path: a folder that becomes a package, or nothing.
PREFIX=
MASTER_PROGRAMS="apiserver scheduler controller-manager serverless-gateway kubectl"
# gpu-server is for the image that GPU jobs run in.
WORKER_PROGRAMS="kubelet kube-proxy gpu-server"
# In the order in which they are started. A target is there to stop and start them together. etcd and Redis are Debian's.
STORE_UNITS="minik8s-etcd.service minik8s-redis.service"
MASTER_UNITS="$STORE_UNITS minik8s-apiserver.service minik8s-scheduler.service minik8s-controller-manager.service minik8s-serverless-gateway.service minik8s-master.target"
WORKER_UNITS="minik8s-kubelet.service minik8s-kube-proxy.service minik8s-worker.target"
# Versions that stay beside the one in force.
OLD_RELEASES=2

LIB=/usr/lib/minik8s
CURRENT=$LIB/current
# Which version was in force, until the one that is has got ready.
BEFORE_IT=$LIB/previous
UNITS=/usr/lib/systemd/system
# shellcheck disable=SC2034 # used by the scripts that source this
CONFIG=/etc/minik8s
# shellcheck disable=SC2034
LOCK=/run/minik8s-install.lock

programs() {
    local role
    for role in "$@"; do
        case $role in
        master) printf '%s\n' $MASTER_PROGRAMS ;;
        worker) printf '%s\n' $WORKER_PROGRAMS ;;
        esac
    done
}

units() {
    local role
    for role in "$@"; do
        case $role in
        master) printf '%s\n' $MASTER_UNITS ;;
        worker) printf '%s\n' $WORKER_UNITS ;;
        esac
    done
}

# The files of flags: one that is the cluster's, and one for each program that a unit starts.
settings() {
    echo cluster.env
    units "$@" | grep -vxF "$(printf '%s\n' $STORE_UNITS)" | sed -n 's/^minik8s-\(.*\)\.service$/\1.env/p'
}

installed_roles() {
    local role
    for role in master worker; do
        [ ! -e "$PREFIX$UNITS/minik8s-$role.target" ] || echo $role
    done
}

# built: where the programs of the last build are.
built() {
    local target=${CARGO_TARGET_DIR:-$ROOT/target}
    if [ -x "$target/release/apiserver" ]; then echo "$target/release"; else echo "$target/debug"; fi
}

# hash_of BIN ROLE…: a name for these programs.
hash_of() {
    local folder=$1 name
    shift
    for name in $(programs "$@"); do
        [ -x "$folder/$name" ] || die "no $name in $folder: build it, or say where it is with --bin"
    done
    (cd "$folder" && cat $(programs "$@") "$ROOT"/deploy/systemd/*) | sha256sum | cut -c 1-12
}

# unpack BIN NAME ROLE…: a version's programs and units, beside those that are there. In force is what was.
unpack() {
    local folder=$1 to=$PREFIX$LIB/releases/$2 name
    shift 2
    mkdir -p "$to/units"
    for name in $(programs "$@"); do
        [ -x "$folder/$name" ] || die "no $name in $folder: build it, or say where it is with --bin"
        # Whoever runs the file keeps it.
        cp "$folder/$name" "$to/$name.new"
        chmod 755 "$to/$name.new"
        mv "$to/$name.new" "$to/$name"
    done
    for name in $(units "$@"); do command install -m 644 "$ROOT/deploy/systemd/$name" "$to/units/$name"; done
}

# configure ROLE…: files of flags that are not there yet.
configure() {
    local name
    mkdir -p "$PREFIX$CONFIG"
    for name in $(settings "$@"); do
        [ -e "$PREFIX$CONFIG/$name" ] || command install -m 600 "$ROOT/deploy/systemd/$name" "$PREFIX$CONFIG/$name"
    done
    # Where kubectl looks for the administrator's.
    case " $* " in *' master '*) ln -sfn /var/lib/minik8s/kubeconfigs/admin.conf "$PREFIX$CONFIG/admin.conf" ;; esac
}

# make_user: whom the API server runs as. Debian's Docker makes its group in the same way.
make_user() {
    getent group docker >/dev/null || groupadd --system docker
    getent passwd minik8s >/dev/null ||
        useradd --system --user-group --home-dir /var/lib/minik8s --no-create-home --shell /usr/sbin/nologin minik8s
}

# release_in_force: its name, if there is one.
release_in_force() { basename "$(readlink "$PREFIX$CURRENT" 2>/dev/null)"; }

# good_release: the one to go back to, if there is one: that in force, unless it was put in force by somebody who was cut off before it was ready.
good_release() {
    local name
    name=$(basename "$(readlink "$PREFIX$BEFORE_IT" 2>/dev/null)")
    if [ -n "$name" ] && [ -d "$PREFIX$LIB/releases/$name" ]; then echo "$name"; else release_in_force; fi
}

# remember NAME: it is good, whatever is in force from now on.
remember() { [ -z "$1" ] || link "releases/$1" "$PREFIX$BEFORE_IT"; }

forget_before() { rm -f "$PREFIX$BEFORE_IT"; }

# link TO NAME: at once.
link() {
    ln -sfnT "$1" "$2.new"
    mv -T "$2.new" "$2"
}

there_is() { [ -d "$PREFIX$LIB/releases/$1" ] || die "there is no version $1: $(ls "$PREFIX$LIB/releases" 2>/dev/null | xargs)"; }

# switch_to NAME ROLE…: puts a version in force: its programs at once, its units with systemd's next reload.
switch_to() {
    local from=$PREFIX$LIB/releases/$1 unit
    there_is "$1"
    # The newest is the last that was in force, not the last that was built.
    touch "$from"
    link "releases/$1" "$PREFIX$CURRENT"
    mkdir -p "$PREFIX$UNITS"
    shift
    for unit in $(units "$@"); do
        [ ! -e "$from/units/$unit" ] || command install -m 644 "$from/units/$unit" "$PREFIX$UNITS/$unit"
    done
}

# forget_old_releases BEFORE: all but the one in force, the one before it, and those that were in force last.
forget_old_releases() {
    local name keep=$OLD_RELEASES current
    current=$(release_in_force)
    [ -z "$1" ] || [ "$1" = "$current" ] || keep=$((keep - 1))
    # shellcheck disable=SC2012 # the names are ours
    ls -t "$PREFIX$LIB/releases" | { grep -vxF -e "$current" -e "${1:-$current}" || true; } | tail -n +$((keep + 1)) | while read -r name; do
        rm -rf "$PREFIX$LIB/releases/${name:?}"
    done
}

# remove_programs ROLE…: units, and programs of all versions.
remove_programs() {
    local unit
    for unit in $(units "$@"); do rm -f "$PREFIX$UNITS/$unit"; done
    [ -z "$(installed_roles)" ] || return 0
    rm -rf "$PREFIX$LIB"
}

# told VARIABLE PROGRAM DEFAULT: what the program's unit tells it, or the YAML file that it is told of.
told() {
    local value file key=${1#MINIK8S_}
    value=$(variable "$1" "$2")
    file=$(variable MINIK8S_CONFIG "$2")
    key=${key//_/-}
    [ -n "$value" ] || [ ! -e "$file" ] || value=$(sed -n "s/^[\"']\{0,1\}${key,,}[\"']\{0,1\} *: *//p" "$file" | sed 's/ #.*//; s/ *$//' | tail -1 | tr -d "\"'")
    echo "${value:-$3}"
}

# variable NAME PROGRAM: as the unit of the program sets it.
variable() { { cat "$CONFIG/cluster.env" "$CONFIG/$2.env" 2>/dev/null || true; } | sed -n "s/^$1=//p" | tail -1 | tr -d "\"'"; }

# own_address PROGRAM: at which it answers this host.
own_address() {
    local address
    address=$(told MINIK8S_BIND_ADDRESS "$1" 127.0.0.1)
    [ "$address" != 0.0.0.0 ] || address=127.0.0.1
    echo "$address"
}

# readiness UNIT: what the program says of it; fails if it is not ready.
readiness() {
    local program=${1#minik8s-} address
    program=${program%.service}
    case $program in
    apiserver) address=https://$(own_address "$program"):$(told MINIK8S_SECURE_PORT "$program" 6443) ;;
    serverless-gateway) address=http://$(own_address "$program"):$(told MINIK8S_PORT "$program" 8081) ;;
    scheduler) address=http://$(told MINIK8S_HEALTH_ADDRESS "$program" 127.0.0.1:10259) ;;
    controller-manager) address=http://$(told MINIK8S_HEALTH_ADDRESS "$program" 127.0.0.1:10257) ;;
    kubelet) address=http://$(told MINIK8S_HEALTH_ADDRESS "$program" 127.0.0.1:10248) ;;
    kube-proxy) address=http://$(told MINIK8S_HEALTH_ADDRESS "$program" 127.0.0.1:10256) ;;
    esac
    # It is this host: nobody else could answer.
    curl -sS --insecure --fail-with-body --max-time 5 "$address/readyz" 2>&1
}

is_ready() { readiness "$1" >/dev/null; }

# enablement UNIT: enabled, disabled, masked and so on, if systemd knows.
enablement() {
    [ -d /run/systemd/system ] || return 0
    systemctl is-enabled "$1" 2>/dev/null || true
}

# installed_units: those of its input that are there.
installed_units() {
    local unit
    while read -r unit; do [ ! -e "$PREFIX$UNITS/$unit" ] || echo "$unit"; done
}

# manager WORD…: systemd, where it runs.
manager() {
    [ -d /run/systemd/system ] || { warn "systemd does not run here: systemctl $* is left out" && return; }
    systemctl "$@"
}
