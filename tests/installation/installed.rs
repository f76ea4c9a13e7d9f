//! `scripts/install.sh` on a host, step by step.

use crate::host::{check, on_a_copy, programs_that_say};

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
