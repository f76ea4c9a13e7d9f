//! The Debian packages, by dpkg on a copy of this host.

use crate::host::{LEFT_BEHIND, check, programs_that_say};

/// Makes the packages of versions 1 and 2.
const MAKE: &str = r#"
    make() { scripts/package.sh --bin "$PROGRAMS" --output /tmp/debs --version "$1" >/dev/null; }
    dpkg_() { dpkg --force-depends "$@" >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }; }
    make 1
    make 2
"#;

#[test]
fn an_upgrade_keeps_settings_removal_keeps_data_and_purge_keeps_nothing() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{MAKE}
        dpkg_ -i /tmp/debs/minik8s-*_1_*.deb
        echo MINIK8S_NODE_NAME=n1 >>/etc/minik8s/kubelet.env
        echo MINIK8S_SERVICE_CIDR=10.98.0.0/16 >/etc/minik8s/cluster.env
        mkdir -p /var/lib/minik8s/{{apiserver,kubelet}} /etc/minik8s/pki
        shown() {{ echo "$1: $(readlink /usr/lib/minik8s/current), $(grep -h '^MINIK8S_[NS]' /etc/minik8s/*.env | xargs), $(ls /var/lib/minik8s | xargs)"; }}
        echo --
        stat -c '%a %U' /etc/minik8s/*.env | sort -u
        id -un minik8s
        touch /etc/minik8s/{{pki/ca.key,redis.conf,etcd.env,store-ca.crt}}
        shown installed
        # Programs of two versions would not do.
        ! dpkg --force-depends -i /tmp/debs/minik8s-master_2_*.deb >/dev/null 2>&1 || echo "one of both is upgraded"
        ls /usr/lib/minik8s/current/ | xargs
        dpkg_ --auto-deconfigure -i /tmp/debs/minik8s-*_2_*.deb
        shown upgraded
        ls /usr/lib/minik8s/current/ | xargs
        dpkg_ -r minik8s-master
        shown "the master removed"
        ls /usr/lib/minik8s/current/ | xargs
        dpkg_ -P minik8s-master
        shown "the master purged"
        ls /etc/minik8s | xargs
        dpkg_ -P minik8s-worker
        ls -d /etc/minik8s /usr/lib/minik8s /var/lib/minik8s 2>/dev/null || echo "nothing is left""#
    );
    let settings = "MINIK8S_SERVICE_CIDR=10.98.0.0/16 MINIK8S_NODE_NAME=n1";
    let expected = format!(
        "600 root\n\
         minik8s\n\
         installed: releases/1, {settings}, apiserver kubelet\n\
         apiserver controller-manager gpu-server kube-proxy kubectl kubelet scheduler serverless-gateway units\n\
         upgraded: releases/2, {settings}, apiserver kubelet\n\
         apiserver controller-manager gpu-server kube-proxy kubectl kubelet scheduler serverless-gateway units\n\
         the master removed: releases/2, {settings}, apiserver kubelet\n\
         gpu-server kube-proxy kubelet units\n\
         the master purged: releases/2, {settings}, kubelet\n\
         cluster.env kube-proxy.env kubelet.env store-ca.crt\n\
         nothing is left\n"
    );
    check(programs.path(), &script, &expected);
}

/// Docker is silent.
#[test]
fn a_purge_takes_back_what_a_node_has_made_of_its_host() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{MAKE}{LEFT_BEHIND}
        dpkg_ -i /tmp/debs/minik8s-worker_1_*.deb
        use_node
        dpkg_ -r minik8s-worker
        echo --
        what_is_left | tail -n 1
        dpkg_ -P minik8s-worker
        grep -o 'its containers of the node stay' /tmp/said
        what_is_left
        ls -d /etc/minik8s /usr/lib/minik8s /usr/share/minik8s /var/lib/minik8s 2>/dev/null || echo "no folder is left""#
    );
    let expected = "nameserver 192.0.2.1\n\
        its containers of the node stay\n\
        nameserver 192.0.2.1\n\
        no folder is left\n";
    check(programs.path(), &script, expected);
}

#[test]
fn an_upgrade_starts_again_what_runs_and_enables_only_what_is_new() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{MAKE}
        dpkg_ -i /tmp/debs/minik8s-master_1_*.deb
        # As if version 1 had none.
        rm /usr/lib/systemd/system/minik8s-redis.service
        : >/run/stand-in/calls
        dpkg_ -i /tmp/debs/minik8s-master_2_*.deb
        dpkg_ -r minik8s-master
        echo --
        cat /run/stand-in/calls"#
    );
    let units = "minik8s-etcd.service minik8s-redis.service minik8s-apiserver.service minik8s-scheduler.service minik8s-controller-manager.service \
                 minik8s-serverless-gateway.service minik8s-master.target";
    let services = units.split(' ').skip(2).filter(|unit| unit.ends_with(".service"));
    let again: String = services.map(|unit| format!("try-restart {unit}\n")).collect();
    let expected = format!(
        "daemon-reload\nenable minik8s-redis.service\n{again}stop {units}\ndisable {units}\ndaemon-reload\n"
    );
    check(programs.path(), &script, &expected);
}
