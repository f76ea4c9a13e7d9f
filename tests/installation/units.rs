//! The units: as systemd's own tool sees them, and as what starts a cluster.

use std::fs;

use crate::host::{built, check, programs_that_say, repository};

/// How exposed a unit may be, by `systemd-analyze security`: tenths, of 100. A kubelet makes mounts and namespaces for pods, and
/// kube-proxy holds addresses, routes and rules.
const EXPOSURE: [(&str, u8); 8] = [
    ("apiserver", 14),
    ("controller-manager", 16),
    ("etcd", 14),
    ("kube-proxy", 47),
    ("kubelet", 64),
    ("redis", 14),
    ("scheduler", 14),
    ("serverless-gateway", 14),
];

#[test]
fn systemd_takes_the_units_and_finds_them_hardened() {
    let programs = programs_that_say("nothing");
    let thresholds = EXPOSURE.map(|(name, most)| format!("{name}:{most}")).join(" ");
    let script = format!(
        r#"
        scripts/install.sh master worker --bin "$PROGRAMS" --root /tmp/root --release one >/dev/null 2>&1
        # What they are ordered by is the host's, as are etcd and Redis.
        for program in etcd redis-server; do install -D /bin/true /tmp/root/usr/bin/$program; done
        cp /usr/lib/systemd/system/*.target /tmp/root/usr/lib/systemd/system/
        echo --
        cd /tmp/root/usr/lib/systemd/system
        systemd-analyze verify --root /tmp/root minik8s-*
        for unit in minik8s-*.service; do name=${{unit#minik8s-}}; echo "${{name%.service}}"; done
        for one in {thresholds}; do
            systemd-analyze security --no-pager --offline=true --root /tmp/root --threshold "${{one#*:}}" "minik8s-${{one%:*}}.service" >/tmp/said ||
                grep -e '✗' -e '→' /tmp/said
        done"#
    );
    let names = EXPOSURE.map(|(name, _)| format!("{name}\n")).concat();
    check(programs.path(), &script, &names);
}

fn has_line(unit: &str, start: &str) -> bool {
    let path = repository().join(format!("deploy/systemd/minik8s-{unit}.service"));
    fs::read_to_string(path).unwrap().lines().any(|line| line.starts_with(start))
}

/// What a hardened unit would refuse, and its program needs.
#[test]
fn kubelet_and_kube_proxy_may_do_what_pods_need() {
    // Directories of a pod's fsGroup pass the group on, by the bit that this refuses.
    assert!(!has_line("kubelet", "RestrictSUIDSGID="));
    // Outside of the unit's capabilities.
    assert!(has_line("kube-proxy", "ExecStartPre=+-/sbin/modprobe br_netfilter"));
    // A member without a majority holds nobody up forever.
    assert!(!has_line("etcd", "TimeoutStartSec=infinity"));
}

/// Every program by its unit's own line, as the user and with the capabilities that the unit says; node and proxy look for a Docker
/// that is not there.
#[test]
fn a_cluster_starts_from_the_units_alone() {
    let script = r#"
        . scripts/lib/common.sh
        hostname n1
        ip link add host0 type veth peer name host1
        ip addr add 192.0.2.1/24 dev host0 && ip link set host0 up && ip link set host1 up
        scripts/install.sh master worker --bin "$PROGRAMS" --release one
        if systemctl is-active minik8s-kubelet; then die "a kubelet that has not joined is started"; fi
        kubeconfigs=/var/lib/minik8s/kubeconfigs
        cp $kubeconfigs/kube-proxy.conf /etc/minik8s/
        /usr/lib/minik8s/current/apiserver kubeconfig --data-dir /var/lib/minik8s/apiserver --server https://192.0.2.1:6443 \
            --user system:node:n1 --group system:nodes --san n1 --san 192.0.2.1 --output /etc/minik8s/kubelet.conf
        systemctl start minik8s-worker.target
        export KUBECONFIG=$kubeconfigs/admin.conf
        /usr/lib/minik8s/current/kubectl create configmap a --from-literal=a=b
        ready() { curl -fsS --max-time 5 "http://127.0.0.1:$1/readyz"; }
        for port in 10259 10257 8081; do eventually 60 "readiness at $port" ready $port; done
        echo --
        for unit in apiserver scheduler controller-manager serverless-gateway kubelet kube-proxy; do
            read -r pid _ </run/stand-in/minik8s-$unit.service.pid
            root=$(awk '$5 == "/" {print substr($6, 1, 2)}' "/proc/$pid/mountinfo")
            echo "$unit $(stat -c %U "/proc/$pid") $root $(sed -n 's/^CapBnd:\t0*//p' "/proc/$pid/status")"
        done
        # What they tell of themselves, they read of the host.
        for port in 10259 10257 8081 10248 10256; do curl -sS "http://127.0.0.1:$port/metrics" | grep -o '^process_start_time_seconds'; done | uniq -c
        stat -c '%U %a' /var/lib/minik8s/apiserver /etc/minik8s/cluster.env
        systemctl stop minik8s-master.target minik8s-worker.target"#;
    let expected = "apiserver minik8s ro \n\
        scheduler UNKNOWN ro \n\
        controller-manager UNKNOWN ro \n\
        serverless-gateway UNKNOWN ro \n\
        kubelet root rw 28303f\n\
        kube-proxy root rw 8343f\n\
        \x20     5 process_start_time_seconds\n\
        minik8s 700\n\
        root 600\n";
    check(&built(), script, expected);
}

/// The controllers are handed the authority's key, and a kubelet has its certificate signed by it.
#[test]
fn a_worker_joins_installed_masters_with_a_token() {
    let script = r#"
        . scripts/lib/common.sh
        hostname n1
        ip link add host0 type veth peer name host1
        ip addr add 192.0.2.1/24 dev host0 && ip link set host0 up && ip link set host1 up
        scripts/install.sh master worker --bin "$PROGRAMS" --release one
        export KUBECONFIG=/var/lib/minik8s/kubeconfigs/admin.conf PATH=/usr/lib/minik8s/current:$PATH
        token=$(kubectl token create abcdef.0123456789abcdef)
        cat >/etc/minik8s/bootstrap-kubelet.conf <<END
        apiVersion: v1
        kind: Config
        clusters: [{name: default, cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: $(base64 -w0 /var/lib/minik8s/apiserver/pki/ca.crt)}}]
        users: [{name: joining, user: {token: $token}}]
        contexts: [{name: default, context: {cluster: default, user: joining}}]
        current-context: default
END
        echo MINIK8S_BOOTSTRAP_KUBECONFIG=/etc/minik8s/bootstrap-kubelet.conf >>/etc/minik8s/kubelet.env
        ln -s kubelet.conf /etc/minik8s/kube-proxy.conf
        systemctl start minik8s-kubelet
        joined() { [ -s /etc/minik8s/kubelet.conf ]; }
        eventually 60 "a certificate" joined
        systemctl start minik8s-worker.target
        echo --
        kubectl get csr -o 'jsonpath={.items[0].spec.username} {.items[0].status.conditions[0].type}'
        echo
        kubectl --kubeconfig /etc/minik8s/kube-proxy.conf get namespace kube-system -o name
        { kubectl --kubeconfig /etc/minik8s/kubelet.conf get secrets -n kube-system 2>&1 || true; } | grep -o 'User "[^"]*" cannot list'
        systemctl stop minik8s-master.target minik8s-worker.target"#;
    let expected = "system:bootstrap:abcdef Approved\n\
        namespace/kube-system\n\
        User \"system:node:n1\" cannot list\n";
    check(&built(), script, expected);
}
