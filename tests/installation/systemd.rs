//! systemd itself, as the first process of a copy of this host: what the stand-in leaves out, such as filters of system calls, namespaces
//! of users, and starting again.

use crate::host::{beside_copies, built};

/// `under_systemd SCRIPT` boots the copy `host` into a unit that runs the script, and shows what it said. Control groups are made
/// below this process's own, and are gone with it.
const BOOT: &str = r#"
    groups() {
        local controllers path folder
        while IFS=: read -r _ controllers path; do
            case $controllers in
            '') folder=/sys/fs/cgroup/unified ;;
            *) folder=/sys/fs/cgroup/${controllers#name=} ;;
            esac
            [ ! -e /sys/fs/cgroup/cgroup.procs ] || folder=/sys/fs/cgroup
            [ ! -d "$folder" ] || echo "$folder${path%/}"
        done
    }
    mapfile -t OWN < <(groups </proc/self/cgroup)
    NAME=minik8s-$(basename "$HERE")
    leave() {
        local group
        for group in "${OWN[@]}"; do
            [ -d "$group/$NAME" ] || continue
            echo 0 >"$group/cgroup.procs"
            # What was killed ends in its own time.
            for _ in {1..100}; do find "$group/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null && break; sleep 0.1; done
        done
    }
    under_systemd() {
        local root=$HERE/host/root group
        printf '%s\n' 'set -euo pipefail' "cd $REPOSITORY" "export PATH=/usr/sbin:/usr/bin:/sbin:/bin PROGRAMS=$PROGRAMS" "$1" >"$root/tmp/script"
        printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' Type=oneshot StandardOutput=file:/tmp/said StandardError=file:/tmp/said \
            'ExecStart=/bin/bash /tmp/script' 'ExecStopPost=/bin/systemctl exit' >"$root/usr/lib/systemd/system/test.service"
        # Nothing else of this host is to be started.
        rm -rf "$root"/etc/systemd/system/*.wants "$root"/usr/lib/systemd/system/*.wants
        cp --remove-destination /usr/bin/systemctl "$root/usr/bin/systemctl"
        trap leave EXIT
        for group in "${OWN[@]}"; do
            mkdir "$group/$NAME"
            # Not every controller takes a process before it is told more.
            echo 0 2>/dev/null >"$group/$NAME/cgroup.procs" || rmdir "$group/$NAME"
        done
        : >"$HERE/console"
        # More than what is waited for in it, one after the other.
        ROOT=$root timeout --foreground -s KILL 420 unshare --mount --pid --cgroup --fork --kill-child bash -euc '
            cd "$ROOT"
            mount -t proc proc proc
            umount -l sys
            mount -t sysfs sysfs sys
            if [ -e /sys/fs/cgroup/cgroup.procs ]; then
                mount -t cgroup2 none sys/fs/cgroup
            else
                mount -t tmpfs none sys/fs/cgroup
                mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
                mount -t cgroup2 none sys/fs/cgroup/unified
                mount -t cgroup -o none,name=systemd none sys/fs/cgroup/systemd
            fi
            mount --bind "$HERE/console" dev/console
            mkdir before
            pivot_root . before
            cd /
            umount -l before
            # systemd leaves that to whoever starts it in a container.
            mount --make-rshared /
            export container=other
            exec /lib/systemd/systemd --system --unit=test.service --log-target=console --show-status=no
        ' || true
        cat "$root/tmp/said"
    }
"#;

#[test]
fn all_programs_run_as_systemd_confines_them_and_are_started_again() {
    let script = r#"
        . scripts/lib/common.sh
        scripts/masters.sh 127.0.0.1 --output /tmp/masters
        mkdir /etc/minik8s
        cp -r /tmp/masters/127.0.0.1/. /etc/minik8s/
        scripts/install.sh master worker --bin "$PROGRAMS" --release one
        [ "$(systemctl show --property ConditionResult --value minik8s-kubelet)" = no ] || die "a kubelet that has not joined is started"
        kubeconfigs=/var/lib/minik8s/kubeconfigs
        cp $kubeconfigs/kube-proxy.conf /etc/minik8s/
        /usr/lib/minik8s/current/apiserver kubeconfig --ca-cert-file /etc/minik8s/pki/ca.crt --ca-key-file /etc/minik8s/pki/ca.key --server https://127.0.0.1:6443 \
            --user system:node:n1 --group system:nodes --san n1 --san 127.0.0.1 --output /etc/minik8s/kubelet.conf
        systemctl start minik8s-kubelet minik8s-kube-proxy
        KUBECONFIG=/etc/minik8s/admin.conf /usr/lib/minik8s/current/kubectl create configmap a --from-literal=a=b
        main() { systemctl show --property MainPID --value "minik8s-$1"; }
        echo --
        for unit in etcd redis apiserver scheduler controller-manager serverless-gateway kubelet kube-proxy; do
            echo "$unit $(systemctl is-active minik8s-$unit) $(awk '/^(Seccomp|NoNewPrivs):/ {print $2}' "/proc/$(main $unit)/status" | xargs)"
        done
        before=$(main scheduler)
        kill -9 "$before"
        again() { now=$(main scheduler) && [ "$now" != 0 ] && [ "$now" != "$before" ] && systemctl is-active minik8s-scheduler && curl -fsS http://127.0.0.1:10259/readyz; }
        eventually 60 "the scheduler again" again && echo "the scheduler is started again"
        systemctl stop minik8s-master.target minik8s-worker.target
        gone() { ! pgrep -f '^/usr/lib/minik8s/'; }
        eventually 60 "all to end" gone && echo "the targets stop them"
    "#;
    let quoted = script.replace('\'', r"'\''");
    let (code, said) =
        beside_copies(&built(), &format!("{BOOT}\ncopy host\nunder_systemd '{quoted}'"));
    assert_eq!(code, 0, "{said}");
    let expected = "etcd active 1 2\n\
        redis active 1 2\n\
        apiserver active 1 2\n\
        scheduler active 1 2\n\
        controller-manager active 1 2\n\
        serverless-gateway active 1 2\n\
        kubelet active 1 2\n\
        kube-proxy active 1 2\n\
        the scheduler is started again\n\
        the targets stop them\n";
    assert_eq!(said.split_once("--\n").map(|(_, shown)| shown), Some(expected), "{said}");
}
