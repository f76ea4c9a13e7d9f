//! `scripts/install.sh` on a host, step by step.

use crate::host::{LEFT_BEHIND, check, on_a_copy, programs_that_say};

#[test]
fn a_new_version_keeps_settings_and_the_version_before_stays_beside_it() {
    let programs = programs_that_say("nothing");
    let script = r#"
        install() { scripts/install.sh --no-start --bin "$PROGRAMS" "$@" >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }; }
        say() { echo "$1 $(basename "$(readlink /usr/lib/minik8s/current)"): $(ls /usr/lib/minik8s/releases | xargs)"; }
        install master --release one
        echo MINIK8S_SERVICE_CIDR=10.98.0.0/16 >/etc/minik8s/cluster.env
        echo --
        install worker --release two
        say "with a worker"
        ls /usr/lib/minik8s/current | xargs
        cat /etc/minik8s/cluster.env
        install --switch one
        say "and back"
        for release in three four five; do install --release $release; done
        say "later"
        install --uninstall
        ls /usr/lib/minik8s /usr/lib/systemd/system/minik8s-* 2>/dev/null || echo "nothing is left of the programs"
        cat /etc/minik8s/cluster.env"#;
    let expected = "with a worker two: one two\n\
        apiserver controller-manager gpu-server kube-proxy kubectl kubelet scheduler serverless-gateway units\n\
        MINIK8S_SERVICE_CIDR=10.98.0.0/16\n\
        and back one: one two\n\
        later five: five four three\n\
        nothing is left of the programs\n\
        MINIK8S_SERVICE_CIDR=10.98.0.0/16\n";
    check(programs.path(), script, expected);
}

#[test]
fn what_cannot_be_installed_changes_nothing() {
    let programs = programs_that_say("nothing");
    std::fs::remove_file(programs.path().join("kubelet")).unwrap();
    let script = r#"
        scripts/install.sh worker --no-start --bin "$PROGRAMS" || echo "refused: $?"
        ls /etc/minik8s /usr/lib/minik8s 2>/dev/null || echo "nothing is there""#;
    let (code, said) = on_a_copy(programs.path(), script);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no kubelet in /") && said.contains("--bin"), "{said}");
    assert!(said.ends_with("refused: 1\nnothing is there\n"), "{said}");
}

#[test]
fn purge_of_a_master_leaves_what_is_not_its_own() {
    let programs = programs_that_say("nothing");
    let script = r#"
        scripts/install.sh master --no-start --bin "$PROGRAMS"
        mkdir -p /var/lib/minik8s/{apiserver,kubeconfigs,others}
        scripts/install.sh --uninstall --purge
        echo --
        find /var/lib/minik8s -mindepth 1
        getent passwd minik8s || echo "no user"
        [ -e /etc/minik8s ] || echo "no settings""#;
    check(programs.path(), script, "/var/lib/minik8s/others\nno user\nno settings\n");
}

#[test]
fn the_version_that_was_in_force_is_not_forgotten_however_old_it_is() {
    let programs = programs_that_say("nothing");
    let script = r#"
        install() { scripts/install.sh --no-start --bin "$PROGRAMS" "$@" >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }; }
        for release in one two three; do install master --release $release; done
        install --switch one
        # As if somebody had looked at the others since.
        touch /usr/lib/minik8s/releases/{two,three}
        install --release four
        echo --
        ls /usr/lib/minik8s/releases | xargs"#;
    check(programs.path(), script, "four one three\n");
}

#[test]
fn who_goes_back_waits_for_an_installation_that_is_under_way() {
    let programs = programs_that_say("nothing");
    let script = r#"
        install() { scripts/install.sh --no-start --bin "$PROGRAMS" "$@"; }
        for release in one two; do install master --release $release; done
        LOCK=/run/minik8s-install.lock
        flock $LOCK bash -c 'until pgrep -f "^flock -w"; do sleep 0.05; done; touch /tmp/ended' &
        until ! flock -n $LOCK true; do sleep 0.05; done
        if install --release three; then exit 1; fi
        install --switch one
        echo --
        ls /tmp/ended
        readlink /usr/lib/minik8s/current"#;
    check(programs.path(), script, "/tmp/ended\nreleases/one\n");
}

/// `docker` brings one that answers, and has no containers.
const NODE: &str = r#"
    printf '#!/bin/sh\n' >/usr/bin/docker.new && chmod 755 /usr/bin/docker.new
    docker() { mv /usr/bin/docker.new /usr/local/sbin/docker; }
    install() { scripts/install.sh --no-start --bin "$PROGRAMS" "$@"; }
    data() { mkdir -p /var/lib/minik8s/{apiserver,kubeconfigs,kubelet,kube-proxy}; }
    shown() { echo "$1: $(ls -d /etc/minik8s /usr/lib/minik8s /var/lib/minik8s /var/lib/minik8s/* 2>/dev/null | xargs) $(getent passwd minik8s | cut -d: -f1)"; }
"#;

#[test]
fn without_docker_nothing_of_a_host_is_stopped_or_removed() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{NODE}
        install master worker --release one
        data
        : >/run/stand-in/calls
        if install --uninstall --purge; then exit 1; fi
        echo --
        shown all
        cat /run/stand-in/calls"#
    );
    let all = "all: /etc/minik8s /usr/lib/minik8s /var/lib/minik8s /var/lib/minik8s/apiserver \
        /var/lib/minik8s/kube-proxy /var/lib/minik8s/kubeconfigs /var/lib/minik8s/kubelet minik8s\n";
    check(programs.path(), &script, all);
}

#[test]
fn purge_after_removal_finds_the_data() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{NODE}
        install master worker --release one
        data
        install --uninstall
        if install --uninstall --purge; then exit 1; fi
        echo --
        shown "without Docker"
        docker
        install --uninstall --purge 2>/dev/null
        shown "with it""#
    );
    let expected = "without Docker: /etc/minik8s /var/lib/minik8s /var/lib/minik8s/apiserver \
        /var/lib/minik8s/kube-proxy /var/lib/minik8s/kubeconfigs /var/lib/minik8s/kubelet minik8s\n\
        with it:  \n";
    check(programs.path(), &script, expected);
}

#[test]
fn purge_takes_back_what_a_node_has_made_of_its_host() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{NODE}{LEFT_BEHIND}
        install worker --release one
        docker
        use_node
        install --uninstall --purge 2>/dev/null
        echo --
        what_is_left
        shown "in folders""#
    );
    check(programs.path(), &script, "nameserver 192.0.2.1\nin folders:  \n");
}

#[test]
fn purge_leaves_what_is_on_volumes_of_another_node() {
    let programs = programs_that_say("nothing");
    let script = format!(
        r#"{NODE}{LEFT_BEHIND}
        install worker --release one
        # As if it had a container of that node.
        echo 'echo n2' >>/usr/bin/docker.new
        docker
        use_node
        mkdir /var/lib/minik8s/volumes/pvc-2
        echo n2 >/var/lib/minik8s/volumes/.pvc-2.made
        install --uninstall --purge 2>/dev/null
        echo --
        ls -A /var/lib/minik8s /var/lib/minik8s/volumes | xargs"#
    );
    let left = "/var/lib/minik8s: volumes /var/lib/minik8s/volumes: .pvc-2.made pvc-2\n";
    check(programs.path(), &script, left);
}

#[test]
fn readiness_is_asked_for_where_the_file_of_flags_says() {
    let programs = programs_that_say("nothing");
    let script = r#"
        . scripts/lib/common.sh
        . scripts/lib/releases.sh
        mkdir /etc/minik8s
        asked() { told MINIK8S_HEALTH_ADDRESS kubelet usual; }
        echo --
        asked
        echo MINIK8S_CONFIG=/etc/minik8s/kubelet.yaml >/etc/minik8s/kubelet.env
        printf '%s\n' 'node-labels: [a=b]' 'health-address: "127.0.0.1:1" # not the usual one' >/etc/minik8s/kubelet.yaml
        asked
        echo MINIK8S_HEALTH_ADDRESS=127.0.0.1:2 >>/etc/minik8s/kubelet.env
        asked"#;
    check(programs.path(), script, "usual\n127.0.0.1:1\n127.0.0.1:2\n");
}
