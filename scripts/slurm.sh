#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, to try GPU jobs with: a login node (sshd), slurmctld, slurmd, and slurmdbd with
# its database. Its four GPUs are pretended: Slurm hands them out, and no program can compute with them. Only loopback addresses
# are used unless --address says others; nothing in /etc is touched but a user, who is made and removed again. Run it as root,
# on a machine that is for trying things out. Several can be up at a time, in folders and on ports of their own.
#
#   scripts/slurm.sh up                 makes it; prints how to log in, and what to tell minik8s
#   scripts/slurm.sh down               stops it, and removes its user and its folder
#   scripts/slurm.sh stop SERVER        stops sshd (with its connections), slurmdbd, slurmctld or slurmd
#   scripts/slurm.sh start SERVER       starts it again
#
#   --dir DIR            its folder (/run/minik8s-slurm): a short path
#   --port PORT          sshd's port; the next three are the other servers' (2222)
#   --address ADDRESS    where sshd listens: one that pods reach, such as the host's own (127.0.0.1)
#   --user NAME          who logs in (slurm-PORT); the password is in the file `password` of the folder, a key in `key`
#   --no-accounting      without slurmdbd: `sacct` knows nothing
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$ROOT/scripts/lib/install.sh"
umask 022

DIR=/run/minik8s-slurm PORT=2222 ADDRESS=127.0.0.1 LOGIN='' ACCOUNTING=true
command='' server=''

arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
        -h | --help) usage "$0" && exit ;;
        --no-accounting) ACCOUNTING=false ;;
        --dir) DIR=${2:?--dir needs a value} && shift ;;
        --port) PORT=${2:?--port needs a value} && shift ;;
        --address) ADDRESS=${2:?--address needs a value} && shift ;;
        --user) LOGIN=${2:?--user needs a value} && shift ;;
        up | down) command=$1 ;;
        stop | start) command=$1 server=${2:?$1 needs a server} && shift ;;
        *) die "unknown argument $1 (see $0 --help)" ;;
        esac
        shift
    done
    LOGIN=${LOGIN:-slurm-$PORT}
    NODE=node-$PORT
    # Unix sockets are in it, whose paths are short.
    [ ${#DIR} -lt 80 ] || die "--dir is too long: $DIR"
    # What was chosen when it was made counts from then on.
    if [ "$command" != up ] && [ -e "$DIR/settings" ]; then
        # shellcheck source=/dev/null
        . "$DIR/settings"
    fi
    export SLURM_CONF=$DIR/etc/slurm.conf
}

# --- what the servers read -------------------------------------------------------------------------------------------------

settings() {
    # Of root alone, as munged and sshd demand it.
    install -d -m 755 "$DIR" "$DIR"/{etc,run,run/munge,log,spool,state,ssh}
    # Plain assignments: a declaration would be the reading function's own.
    declare -p PORT ADDRESS LOGIN ACCOUNTING NODE | sed 's/^declare -- //' >"$DIR/settings"
    dd if=/dev/urandom of="$DIR/etc/munge.key" bs=128 count=1 status=none
    chmod 600 "$DIR/etc/munge.key"
    slurm_conf >"$SLURM_CONF"
    echo "AutoDetect=off
NodeName=$NODE Name=gpu Count=4 File=$DIR/run/gpu[0-3]" >"$DIR/etc/gres.conf"
    local n
    for n in 0 1 2 3; do mknod "$DIR/run/gpu$n" c 1 3; done # as /dev/null is
}

slurm_conf() {
    cat <<C
ClusterName=minik8s
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$((PORT + 1))
SlurmdPort=$((PORT + 2))
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge/sock
CryptoType=crypto/munge
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmdPidFile=$DIR/run/slurmd.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.log
SlurmdDebug=info
MailProg=/bin/true
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
KillWait=2
MinJobAge=300
GresTypes=gpu
SlurmdParameters=config_overrides
JobAcctGatherFrequency=1
JobAcctGatherType=jobacct_gather/linux
NodeName=$NODE NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((PORT + 2)) CPUs=8 RealMemory=4000 Gres=gpu:4 State=UNKNOWN
PartitionName=dgx2 Nodes=$NODE Default=YES MaxTime=INFINITE State=UP
C
    # Where there is no cgroup of version 1 for memory, nobody is told that a job ran out of it.
    if [ -w /sys/fs/cgroup/memory ]; then
        printf '%s\n' ProctrackType=proctrack/cgroup TaskPlugin=task/cgroup
        printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint=/sys/fs/cgroup CgroupAutomount=no ConstrainCores=no \
            ConstrainDevices=no ConstrainRAMSpace=yes ConstrainSwapSpace=no >"$DIR/etc/cgroup.conf"
    else
        printf '%s\n' ProctrackType=proctrack/linuxproc TaskPlugin=task/none JobAcctGatherParams=OverMemoryKill
    fi
    if $ACCOUNTING; then
        printf '%s\n' AccountingStorageType=accounting_storage/slurmdbd AccountingStorageHost=127.0.0.1 \
            AccountingStoragePort=$((PORT + 3)) "AccountingStoragePass=$DIR/run/munge/sock" AccountingStorageTRES=gres/gpu
    else
        echo AccountingStorageType=accounting_storage/none
    fi
}

database_conf() {
    install -d -m 700 -o mysql -g mysql "$DIR/mysql"
    printf '%s\n' '[mysqld]' user=mysql "datadir=$DIR/mysql" "socket=$DIR/mysql/sock" "pid-file=$DIR/mysql/pid" \
        "log-error=$DIR/mysql/log" skip-networking skip-name-resolve innodb_buffer_pool_size=16M innodb_log_file_size=8M \
        innodb_flush_log_at_trx_commit=0 innodb_fast_shutdown=2 performance_schema=0 >"$DIR/etc/my.cnf"
    printf '%s\n' AuthType=auth/munge "AuthInfo=socket=$DIR/run/munge/sock" DbdHost=localhost DbdAddr=127.0.0.1 \
        "DbdPort=$((PORT + 3))" SlurmUser=root "LogFile=$DIR/log/slurmdbd.log" "PidFile=$DIR/run/slurmdbd.pid" \
        StorageType=accounting_storage/mysql StorageHost=localhost StorageUser=root StorageLoc=slurm \
        >"$DIR/etc/slurmdbd.conf"
    chmod 600 "$DIR/etc/slurmdbd.conf"
}

# A user can be made by one at a time.
alone() { flock /run/minik8s-users.lock "$@"; }

login() {
    getent passwd "$LOGIN" >/dev/null && die "there is a user $LOGIN already: choose another with --user, or --port"
    alone useradd -m -d "$DIR/home" -s /bin/bash "$LOGIN"
    (umask 077 && head -c 12 /dev/urandom | base64 | tr -d '\n' >"$DIR/password")
    echo "$LOGIN:$(cat "$DIR/password")" | alone chpasswd
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$DIR/ssh/host_key"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$DIR/key"
    install -d -m 700 -o "$LOGIN" -g "$LOGIN" "$DIR/home/.ssh"
    install -m 600 -o "$LOGIN" -g "$LOGIN" "$DIR/key.pub" "$DIR/home/.ssh/authorized_keys"
    printf '%s\n' "ListenAddress $ADDRESS" "Port $PORT" "HostKey $DIR/ssh/host_key" "PidFile $DIR/run/sshd.pid" 'UsePAM no' \
        'PermitRootLogin no' 'PasswordAuthentication yes' 'KbdInteractiveAuthentication no' 'PubkeyAuthentication yes' \
        "AuthorizedKeysFile $DIR/home/.ssh/authorized_keys" "AllowUsers $LOGIN" 'UseDNS no' 'PrintMotd no' \
        "SetEnv SLURM_CONF=$SLURM_CONF" 'Subsystem sftp internal-sftp' >"$DIR/ssh/sshd_config"
}

# --- the servers -----------------------------------------------------------------------------------------------------------

start() {
    case $1 in
    munged)
        munged --socket="$DIR/run/munge/sock" --key-file="$DIR/etc/munge.key" --pid-file="$DIR/run/munged.pid" \
            --log-file="$DIR/log/munged.log" --seed-file="$DIR/state/munge.seed"
        ;;
    mysqld)
        setsid mysqld --defaults-file="$DIR/etc/my.cnf" </dev/null >"$DIR/log/mysqld.log" 2>&1 &
        eventually 30 "the database ($DIR/mysql/log)" test -S "$DIR/mysql/sock"
        ;;
    slurmdbd)
        # The database's library takes its socket from there.
        MYSQL_UNIX_PORT=$DIR/mysql/sock slurmdbd
        eventually 30 "slurmdbd ($DIR/log/slurmdbd.log)" timeout 3 sacctmgr -n list cluster
        ;;
    slurmctld)
        slurmctld
        eventually 30 "slurmctld ($DIR/log/slurmctld.log)" ping_slurmctld
        ;;
    slurmd)
        slurmd -N "$NODE"
        eventually 30 "slurmd ($DIR/log/slurmd.log)" is_idle
        ;;
    sshd)
        install -d -m 755 /run/sshd
        "$(command -v sshd)" -f "$DIR/ssh/sshd_config" -E "$DIR/log/sshd.log"
        eventually 10 "sshd ($DIR/log/sshd.log)" test -s "$DIR/run/sshd.pid"
        ;;
    *) die "there is no server $1" ;;
    esac
}

ping_slurmctld() { timeout 3 scontrol ping | grep -q UP; }
is_idle() { timeout 3 sinfo -h -o %T | grep -qE '^(idle|mixed|allocated)$'; }

pid_file() { if [ "$1" = mysqld ]; then echo "$DIR/mysql/pid"; else echo "$DIR/run/$1.pid"; fi; }

stop() {
    local file pid
    file=$(pid_file "$1")
    [ -s "$file" ] || return 0
    pid=$(cat "$file")
    # After a crash the number may be somebody else's.
    if ! ours "$pid"; then
        rm -f "$file"
        return 0
    fi
    # Its connections are processes of their own, two each, and would go on.
    if [ "$1" = sshd ]; then
        pkill -KILL -P "$pid" || true
        pkill -KILL -u "$LOGIN" -f '^sshd: ' || true
    fi
    kill "$pid" 2>/dev/null || true
    if ! (eventually 20 "$1 to end" ended "$pid"); then
        kill -KILL "$pid" 2>/dev/null || true
        eventually 5 "$1 to end" ended "$pid"
    fi
    rm -f "$file"
}

# Whether a process was started for this cluster.
ours() { grep -qaF -- "$DIR/" "/proc/$1/environ" "/proc/$1/cmdline" 2>/dev/null; }

# What runs a job is root's, and outlives slurmd.
stop_steps() {
    local pid
    for pid in $(pgrep -x slurmstepd || true); do
        if ours "$pid"; then kill -KILL "$pid" 2>/dev/null || true; fi
    done
}

ended() { ! started "$1"; }

up() {
    [ ! -e "$DIR" ] || die "$DIR is there already: $0 down --dir $DIR"
    # shellcheck disable=SC2086 # a list of words
    install_missing $SLURM_PACKAGES
    trap 'warn "not whole: see $DIR/log, and $0 down --dir $DIR"' ERR
    settings
    login
    start munged
    if $ACCOUNTING; then
        getent passwd mysql >/dev/null || alone useradd -r -M -d /nonexistent -s /usr/sbin/nologin mysql
        database_conf
        mysql_install_db --defaults-file="$DIR/etc/my.cnf" --auth-root-authentication-method=normal --skip-test-db \
            >"$DIR/log/mysql_install_db.log" 2>&1
        start mysqld
        start slurmdbd
        timeout 10 sacctmgr -i add cluster minik8s >/dev/null || true
    fi
    start slurmctld
    start slurmd
    start sshd
    trap - ERR
    explain
}

explain() {
    local key
    key=$(cut -d' ' -f1,2 "$DIR/ssh/host_key.pub")
    echo "[$ADDRESS]:$PORT $key" >"$DIR/known_hosts"
    cat <<T
A Slurm cluster is up. Its own commands: SLURM_CONF=$SLURM_CONF squeue
Log in:      ssh -p $PORT -i $DIR/key -o UserKnownHostsFile=$DIR/known_hosts $LOGIN@$ADDRESS
For minik8s: kubectl create configmap gpu-cluster -n kube-system --from-literal=host=$ADDRESS --from-literal=port=$PORT --from-literal=hostKey='$key'
             kubectl create secret generic slurm --from-literal=username=$LOGIN --from-file=password=$DIR/password
T
}

down() {
    if [ -e "$SLURM_CONF" ]; then timeout 10 scancel -u "$LOGIN" 2>/dev/null || true; fi
    local one
    # One that does not end keeps nothing else from being taken down.
    for one in sshd slurmd slurmctld slurmdbd mysqld munged; do (stop "$one") || true; done
    stop_steps
    if [ "$(getent passwd "$LOGIN" | cut -d: -f6)" = "$DIR/home" ]; then
        pkill -KILL -u "$LOGIN" || true
        # By force: those that were killed may be there still. Its home is in the folder, which goes anyway.
        alone userdel -f "$LOGIN" >/dev/null 2>&1 || true
    fi
    find /sys/fs/cgroup/*/"slurm_$NODE" -depth -type d -exec rmdir {} + 2>/dev/null || true
    # Not a folder that somebody else's words led here to.
    if [ -e "$DIR/settings" ]; then rm -rf "$DIR"; fi
}

arguments "$@"
[ -n "$command" ] || die "what is to be done? (see $0 --help)"
if [ "$command" != up ]; then [ -e "$DIR/settings" ] || die "there is no Slurm cluster in $DIR"; fi
[ "$(id -u)" = 0 ] || die "$0 needs to be root"
"$command" ${server:+"$server"}
