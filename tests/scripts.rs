//! The scripts' own logic, each piece by itself: with stand-ins for what it would install or call, and in a network
//! namespace of its own where it changes the network. What they do to a real cluster is in `cluster/`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const COMMON: &str = "set -euo pipefail; . scripts/lib/common.sh; . scripts/lib/cluster.sh; ";
const INSTALL: &str = "set -euo pipefail; . scripts/lib/common.sh; . scripts/lib/install.sh; ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder whose programs come before those of the machine.
struct StandIns(TempDir);

impl StandIns {
    fn new(programs: &[(&str, &str)]) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for (path, script) in programs {
            this.add(path, script);
        }
        this
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn add(&self, path: &str, script: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The exit code and all output of a piece of bash.
    fn bash(&self, script: &str) -> (i32, String) {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin"));
        let output = Command::new("/bin/bash")
            .args(["-c", &format!("exec 2>&1; {script}")])
            .current_dir(root())
            .env_clear()
            .env("PATH", path)
            .env("HERE", self.0.path())
            .output()
            .unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
    }

    #[track_caller]
    fn check(&self, script: &str, expected: &str) {
        assert_eq!(self.bash(script), (0, expected.to_owned()), "{script}");
    }
}

#[test]
fn a_cluster_is_started_again_with_the_flags_it_was_made_with() {
    let state = StandIns::new(&[]);
    let made = "give state-dir $HERE; give store etcd; give nodes 2; give warm-pool 3; give service-cidr 10.98.0.0/16; settle; remember; ";
    let shown = "echo $STORE $REDIS $NODES $WARM_POOL $SERVICE_CIDR";
    state.check(&format!("{COMMON}{made}{shown}"), "etcd false 2 3 10.98.0.0/16\n");
    state.check(
        &format!("{COMMON}give state-dir $HERE; settle; {shown}"),
        "etcd false 2 3 10.98.0.0/16\n",
    );
    state.check(
        &format!("{COMMON}give state-dir $HERE; give redis true; give nodes 3; settle; {shown}"),
        "etcd true 3 3 10.98.0.0/16\n",
    );
}

#[test]
fn what_a_cluster_was_told_is_shown_and_can_be_taken_back() {
    let state = StandIns::new(&[]);
    let given = "give state-dir $HERE; give redis true; give package-index http://i/simple; give nodes 2; settle; ";
    let shown = r#"shown | sed "s#$HERE#HERE#""#;
    state.check(
        &format!("{COMMON}{given}remember; {shown}"),
        "nodes=2 package-index=http://i/simple redis=true state-dir=HERE\n",
    );
    let later = "give state-dir $HERE; switch redis=false; give package-index ''; settle; ";
    state.check(
        &format!("{COMMON}{later}{shown}; echo $REDIS $(setting package-index)"),
        "nodes=2 (as before) state-dir=HERE\nfalse\n",
    );
    let (code, said) = state.bash(&format!("{COMMON}switch redis=no"));
    assert!(code == 1 && said.contains("--redis=no: must be true or false"), "{said}");
}

#[test]
fn the_key_of_secrets_is_made_once_and_for_its_owner_alone() {
    let state = StandIns::new(&[]);
    let make =
        format!("{COMMON}encryption_config $HERE/a/encryption.yaml; cat $HERE/a/encryption.yaml");
    let (code, made) = state.bash(&make);
    assert_eq!(code, 0, "{made}");
    let configuration: serde_json::Value = serde_yaml::from_str(&made).unwrap();
    let rule = &configuration["resources"][0];
    let key = &rule["providers"][0]["secretbox"]["keys"][0]["secret"];
    assert_eq!((&rule["resources"][0], key.as_str().unwrap().len()), (&"secrets".into(), 44));
    state.check(&make, &made);
    state.check("stat -c %a $HERE/a $HERE/a/encryption.yaml", "700\n600\n");
}

#[test]
fn a_cluster_whose_key_of_secrets_is_lost_gets_no_other_one() {
    let state = StandIns::new(&[]);
    let file = "$HERE/apiserver/encryption.yaml";
    let given = "give state-dir $HERE; give secrets-encryption true; settle; ";
    let first = format!("{COMMON}{given}remember; encryption_config {file}; test -s {file}");
    state.check(&first, "");
    let again = format!("{COMMON}{given}rm -f {file}; encryption_config {file}");
    // The first run did not come as far as a store.
    state.check(&format!("{again}; test -s {file}"), "");
    state.check("touch $HERE/apiserver/store.redb", "");
    let (code, said) = state.bash(&again);
    assert!(code == 1 && said.contains("apiserver/encryption.yaml is missing"), "{said}");
    state.check(&format!("test ! -e {file}"), "");
}

#[test]
fn where_functions_images_and_packages_come_from_is_remembered() {
    let state = StandIns::new(&[]);
    let common = format!("{COMMON}. scripts/lib/registry.sh; give state-dir $HERE; ");
    let plain = "--function-build-network bridge\n";
    state.check(&format!("{common}settle; image_flags '' | xargs"), plain);
    let given = "give registry-secret kube-system/r; give package-index http://i/simple; give build-network host; ";
    state.check(&format!("{common}{given}settle; remember"), "");
    let flags = "--function-build-network host --function-registry r:5000 --function-registry-secret kube-system/r \
         --function-package-index http://i/simple\n";
    state.check(&format!("{common}settle; image_flags r:5000 | xargs"), flags);
}

/// What a host that joins is told by whoever answers: what is in the file `authorities`.
const CLUSTER_INFO: &str = r#"printf '%s' '{"data": {"kubeconfig": "clusters:\n- cluster:\n    certificate-authority-data: '
base64 -w0 "$HERE/authorities"
printf '%s' '\n"}}'"#;

#[test]
fn a_host_that_joins_believes_the_authority_of_the_key_that_it_was_told_alone() {
    let testdata = root().join("crates/certificates/src/testdata");
    let authority = fs::read_to_string(testdata.join("ca.crt")).unwrap();
    let hash = fs::read_to_string(testdata.join("ca.hash")).unwrap().trim().to_owned();
    let other = "-----BEGIN CERTIFICATE-----\nanother\n-----END CERTIFICATE-----\n";
    let server = StandIns::new(&[("bin/curl", CLUSTER_INFO)]);
    fs::write(server.path("authorities"), authority.clone() + other).unwrap();
    let discover = |hash: &str| {
        let join = format!("{COMMON}. scripts/lib/join.sh; discover h:6443 {hash} $HERE/ca.crt");
        server.bash(&join)
    };
    let (code, said) = discover("sha256:0123");
    assert!(code == 1 && said.contains(&format!("its key is {hash}, not sha256:0123")), "{said}");
    assert!(!Path::new(&server.path("ca.crt")).exists());
    let (code, said) = discover(&hash);
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read_to_string(server.path("ca.crt")).unwrap(), authority);

    let silent = StandIns::new(&[("bin/curl", "exit 7")]);
    let join = format!("{COMMON}. scripts/lib/join.sh; discover h:6443 {hash} $HERE/ca.crt");
    let (code, said) = silent.bash(&join);
    assert!(code == 1 && said.contains("no cluster answers at h:6443"), "{said}");
}

#[test]
fn a_kubeconfig_that_has_ended_or_is_of_another_cluster_is_set_aside() {
    let host = StandIns::new(&[]);
    let common = format!("{COMMON}. scripts/lib/join.sh; cd $HERE; ");
    let made = r#"
        for name in ours theirs; do
            openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out $name.crt -subj /CN=$name -days 1 2>/dev/null
        done
        conf() {
            printf '{\n  "certificate-authority-data": "%s",\n  "server": "https://h:6443",\n  "client-certificate-data": "%s"\n}\n' \
                "$(base64 -w0 $1)" "$(base64 -w0 $2)"
        }
        conf ours.crt ours.crt >good
        conf ours.crt /dev/null >none
        is() { "$@" && echo yes || echo no; }
    "#;
    host.check(&format!("{common}{made} is leads_to good h:6443 ours.crt"), "yes\n");
    for other in ["good h:6443 theirs.crt", "good g:6443 ours.crt", "none h:6443 ours.crt"] {
        host.check(&format!("{common}{made} is leads_to {other}"), "no\n");
    }
    host.check(&format!("{common}{made} is leads_to missing h:6443 ours.crt"), "no\n");
    // As of tomorrow.
    let ended = "openssl() { command openssl \"${@/#0/90000}\"; }; is is_good good";
    host.check(&format!("{common}{made} is is_good good; {ended}"), "yes\nno\n");
    let aside = "mkdir -p k/pki; set_aside good k; mkdir k/pki; set_aside good k; ls -d good* k/*";
    host.check(&format!("{common}{made} {aside}"), "good.old\nk/pki.old\n");
}

#[test]
fn a_clusters_store_and_addresses_cannot_be_changed_under_it() {
    let state = StandIns::new(&[]);
    state.check(&format!("{COMMON}give state-dir $HERE; settle; remember"), "");
    for change in [
        "store etcd",
        "service-cidr 10.98.0.0/16",
        "node-name other",
        "port-offset 1",
        "network-plugin weave",
    ] {
        let (code, said) =
            state.bash(&format!("{COMMON}give state-dir $HERE; give {change}; settle"));
        assert_eq!(code, 1, "{change}: {said}");
        let name = change.split(' ').next().unwrap();
        assert!(said.contains(&format!("has {name} ")) && said.contains("--purge"), "{said}");
    }
}

#[test]
fn the_data_of_a_cluster_without_a_memory_says_which_store_it_has() {
    let state = StandIns::new(&[("etcd/member", "")]);
    state.check(&format!("{COMMON}give state-dir $HERE; settle; echo $STORE"), "etcd\n");
    let state = StandIns::new(&[("apiserver/store.redb", "")]);
    let (code, said) =
        state.bash(&format!("{COMMON}give state-dir $HERE; give store etcd; settle"));
    assert_eq!(code, 1, "{said}");
}

#[test]
fn a_process_id_that_was_given_to_another_process_is_not_ours() {
    let folder = StandIns::new(&[]);
    folder.check(&format!("{COMMON} alive $HERE/nobody || echo no"), "no\n");
    let start = "sleep 100 & record $HERE/pid $!; ";
    folder.check(&format!("{COMMON}{start} alive $HERE/pid && echo yes; kill $!"), "yes\n");
    let other = r#"echo "$! 17" >$HERE/pid; "#;
    folder.check(&format!("{COMMON}{start}{other} alive $HERE/pid || echo no; kill $!"), "no\n");
    let stopped =
        format!("{COMMON}{start}{other} stop $HERE/pid 1; kill -0 $! && echo spared; kill $!");
    folder.check(&stopped, "spared\n");
}

#[test]
fn what_was_stopped_by_force_is_gone_before_anything_else_begins() {
    let folder = StandIns::new(&[]);
    let stubborn = "(trap '' TERM; while :; do sleep 0.1; done) & record $HERE/pid $!; ";
    let slow = "kill() { if [ $1 = -9 ]; then (sleep 0.5; command kill $@) & else command kill $@; fi; }; ";
    let look = "[ -z \"$(started $pid)\" ] && echo gone";
    let script =
        format!("{COMMON}{stubborn}pid=$!; {slow}stop $HERE/pid 0; {look}; kill -9 $pid || true");
    let (_, said) = folder.bash(&script);
    assert!(said.lines().any(|line| line == "gone"), "{said}");
}

#[test]
fn a_process_runs_as_long_as_one_of_its_threads() {
    let check = |state: &str, threads: u32, expected: &str| {
        let stat =
            format!("echo '7 (a b) {state} 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 99 0'");
        let folder = StandIns::new(&[("bin/cat", &stat)]);
        folder.check(&format!("{COMMON}started 7 || echo ended"), expected);
    };
    check("S", 1, "99\n");
    check("Z", 2, "99\n");
    check("Z", 1, "ended\n");
    check("X", 1, "ended\n");
}

#[test]
fn a_server_that_does_not_answer_is_not_a_cluster_whose_pods_run() {
    let check = |kubectl: &str, expected: &str| {
        let folder = StandIns::new(&[("bin/kubectl", kubectl)]);
        folder.check(&format!("{COMMON}pods_running && echo yes || echo no"), expected);
    };
    check("exit 1", "no\n");
    check("true", "no\n");
    check("echo a 1/1 Running 0 1s; echo b 0/1 Running 0 1s", "no\n");
    check("echo a 1/1 Running 0 1s; echo b 2/2 Running 0 1s", "yes\n");
}

#[test]
fn the_rust_of_whoever_called_sudo_is_found_and_run_as_them() {
    let folder = StandIns::new(&[
        ("home/.cargo/bin/cargo", "echo built with $RUSTUP_HOME"),
        ("home/.rustup/settings", ""),
        ("bin/getent", r#"[ "$2" = someone ] && echo "someone:x:1:1::$HERE/home:/bin/sh""#),
        ("bin/sudo", r#"echo "as $2"; shift 3; exec "$@""#),
    ]);
    let home = folder.path("home");
    folder.check(
        &format!("{INSTALL} SUDO_USER=someone; require_rust; as_builder cargo build"),
        &format!("as someone\nbuilt with {home}/.rustup\n"),
    );
}

#[test]
fn docker_is_installed_with_its_client_wherever_that_is_packaged() {
    let check = |present: &[&str], expected: &str| {
        let folder = StandIns::new(&[]);
        for program in present {
            folder.add(&format!("bin/{program}"), "");
        }
        let known = format!(
            "{INSTALL} install_missing() {{ echo install $*; }}; \
             command() {{ [ -x $HERE/bin/$2 ]; }}; install_docker"
        );
        folder.check(&known, expected);
    };
    check(&["dockerd", "docker"], "");
    check(&["dockerd"], "install docker-cli\n");
    check(&[], "install docker.io\ninstall docker-cli\n");
}

#[test]
fn a_go_that_is_too_old_fetches_a_newer_one() {
    let go = r#"case $1 in
env) echo go1.19.8 ;;
mod) [ "$4" = golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$(dpkg --print-architecture) ] && echo "\"Dir\": \"$HERE/new\"" ;;
esac"#;
    let machine = StandIns::new(&[
        ("bin/go", go),
        ("new/bin/go", "echo new"),
        ("new/pkg/tool/compile", ""),
        ("new/src/_go.mod", ""),
    ]);
    let call = "export GO_VERSION; install_go 2>/dev/null; go version; ls $HERE/new/src";
    machine.check(&format!("{INSTALL}{call}"), "new\ngo.mod\n");
    let machine = StandIns::new(&[("bin/go", "[ $1 = env ] && echo go1.21.0 || echo old")]);
    machine.check(&format!("{INSTALL}install_go; go version"), "old\n");
}

#[test]
fn only_chains_of_the_ranges_that_there_are_go() {
    let rules = r#"[ $4 = -S ] || exec echo "$@"
echo "-N MINIK8S-FWD-b"
echo "-A MINIK8S-FWD-b -s fd00:a::/56 -j ACCEPT"
echo "-A MINIK8S-FWD-c -s fd00:b::/56 -j ACCEPT""#;
    let host = StandIns::new(&[("bin/ip6tables", rules)]);
    let remove = |ranges: &str| {
        format!("{COMMON}. scripts/lib/leftovers.sh; remove_chains ip6tables filter {ranges}")
    };
    let gone = "-w -t filter -F MINIK8S-FWD-b\n-w -t filter -X MINIK8S-FWD-b\n";
    host.check(&remove("fd00:a::/56 ''"), gone);
    host.check(&remove("'' fd00:a::/56"), gone);
    host.check(&remove("'' ''"), "");
}

/// `down.sh --purge` in a network and mount namespace of its own, beside somebody else's bridge, routes and data.
#[test]
fn purge_removes_what_is_ours_and_nothing_else() {
    let folder = StandIns::new(&[("bin/docker", ""), ("cluster/config/kubelet-n1.conf", "")]);
    let script = r#"
        set -eu
        . scripts/lib/common.sh; . scripts/lib/cluster.sh; . scripts/lib/leftovers.sh; . tests/stand_ins/node.sh
        ip link set lo up
        ip link add flannel0 type bridge && ip addr add 10.244.9.1/24 dev flannel0 && ip link set flannel0 up
        ip route add 10.244.8.0/24 via 10.244.9.2; ip route add fd00:10:244:8::/64 dev flannel0
        seen >"$HERE/before"
        make_node n1
        pods=$HERE/cluster/state/kubelet-n1/pods
        mkdir "$HERE/cluster/log" && touch "$HERE/cluster/log/mail.log" "$HERE/cluster/log/kubelet-n1-2.log" "$HERE/cluster/log/etcd.log"
        mkdir -p "$pods/a volume" "$pods/part" "$HERE/data/disk"
        mount -t tmpfs none "$pods/a volume"
        touch "$pods/a volume/file"
        mount --make-shared --bind "$HERE/data" "$HERE/data"
        mount -t tmpfs none "$HERE/data/disk"
        touch "$HERE/data/kept" "$HERE/data/disk/kept"
        mount --rbind "$HERE/data" "$pods/part"
        mount -t tmpfs none /var/lib
        mkdir -p /var/lib/minik8s/volumes/pvc-{1,2,3,4}/data
        echo n1 >/var/lib/minik8s/volumes/.pvc-1.made; echo n2 >/var/lib/minik8s/volumes/.pvc-2.made; : >/var/lib/minik8s/volumes/.pvc-3.made
        echo n1 >/var/lib/minik8s/volumes/.pvc-4.made
        mount --bind "$HERE/data" /var/lib/minik8s/volumes/pvc-4
        for kind in config state log run; do set -- "$@" --$kind-dir "$HERE/cluster/$kind"; done
        set -- "$@" --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 --service-cidr 10.96.0.0/16,fd00:10:96::/112
        scripts/down.sh --purge "$@" >"$HERE/said" 2>&1 || { cat "$HERE/said"; exit 1; }
        seen | diff "$HERE/before" - || true
        ls /var/lib/minik8s/volumes
        find "$HERE/cluster" -type f -printf '%P\n'
        [ -e "$HERE/cluster/state" ] && echo "the state is still there"
        [ -e "$HERE/data/kept" ] && [ -e "$HERE/data/disk/kept" ] || echo "the data of a volume of the host is gone"
        exit 0"#;
    let alone = format!("unshare --net --mount bash <<'END'\n{script}\nEND\n");
    folder.check(&alone, "pvc-2\npvc-3\npvc-4\nlog/mail.log\n");
}

const NETWORKS: &str = "set -euo pipefail; . scripts/lib/common.sh; . scripts/lib/cluster.sh; . scripts/lib/networks.sh; ";

/// Whether ranges of a cluster fit on a host with these networks: the exit code, and what is said of it. In a network namespace of its own,
/// where a bridge is the host's network.
#[track_caller]
fn check_fitting(networks: &str, (pods, services): (&str, &str), expected: (i32, &str)) {
    let host = "ip link set lo up; ip link add lan type bridge; ip link set lan up; lan() { ip addr add $1 dev lan; }; \
                ours() { ip link add $1 type bridge; ip link set $1 up; ip addr add $2 dev $1; }; ";
    let fitting = format!("CLUSTER_CIDR={pods} SERVICE_CIDR={services}; {networks}; fitting give");
    let script = format!("unshare --net bash <<'END'\n{NETWORKS}{host}{fitting}\nEND\n");
    let (code, said) = StandIns::new(&[]).bash(&script);
    assert_eq!(code, expected.0, "{networks}: {said}");
    assert!(said.contains(expected.1) && said.is_empty() == expected.1.is_empty(), "{said}");
}

const USUAL: (&str, &str) = ("10.244.0.0/16", "10.96.0.0/16");
const TWO: (&str, &str) = ("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112");
/// What there is of a cluster by now.
const OURS: &str = "lan 192.0.2.1/24; ours mk8s12345678 10.244.0.1/24; ip addr add 10.96.0.10/32 dev lo; \
                    ip route add 10.244.1.0/24 via 192.0.2.7 proto 138; ip route add blackhole 10.244.0.0/16 proto static; \
                    ip route add blackhole 10.96.0.0/16 proto static";

#[test]
fn a_network_of_the_host_is_not_within_the_clusters() {
    check_fitting(
        "lan 10.244.7.2/24; lan 10.245.0.1/30",
        USUAL,
        (
            1,
            "10.244.7.0/24 (lan) of this host lies within --cluster-cidr 10.244.0.0/16, so what \
             has an address there would not be reached: give --cluster-cidr 10.246.0.0/16\n",
        ),
    );
    // The last of its kind: from the first on, and past those of services.
    check_fitting(
        "lan 10.255.0.2/24; lan 10.0.0.2/16",
        ("10.255.0.0/16", "10.1.0.0/16"),
        (1, "give --cluster-cidr 10.2.0.0/16\n"),
    );
    check_fitting("lan 10.96.0.0/16", USUAL, (1, "within --service-cidr 10.96.0.0/16"));
    check_fitting(
        "lan 192.0.2.1/24; ip route add 10.244.9.0/24 via 192.0.2.7",
        USUAL,
        (1, "10.244.9.0/24 (lan)"),
    );
    check_fitting("ip route add unreachable 10.244.9.9", USUAL, (1, "10.244.9.9 (unreachable)"));
    // What is said of ways over several links, or by routers of IPv6, hides nothing that comes after it.
    check_fitting(
        "lan 192.0.2.1/24; ip route add default nexthop via 192.0.2.7 dev lan nexthop via 192.0.2.8 dev lan; \
         ip route add 10.244.9.0/24 via inet6 fe80::1 dev lan",
        USUAL,
        (1, "10.244.9.0/24 (lan)"),
    );
    check_fitting(
        "lan 192.0.2.1/24; ip route add 10.244.9.0/24 nexthop via 192.0.2.7 dev lan nexthop via 192.0.2.8 dev lan",
        USUAL,
        (1, "10.244.9.0/24 (several links)"),
    );
    // One of the host's own addresses, in a network that is larger than the range.
    check_fitting("lan 10.244.0.5/8", USUAL, (1, "10.244.0.5 (lan)"));
    let larger =
        "10.244.0.0/16 is a part of 10.0.0.0/8 (lan) of this host: what has an address there";
    check_fitting("lan 10.0.0.5/8", USUAL, (0, larger));
    let known = "lan 10.244.7.2/24; REMEMBERED[cluster-cidr]=$CLUSTER_CIDR";
    check_fitting(known, USUAL, (0, "warning"));
    check_fitting(OURS, USUAL, (0, ""));
    check_fitting("ours weave 10.244.0.1/16", USUAL, (0, ""));
    check_fitting(
        "ours cni0 10.244.0.1/24; REMEMBERED[cluster-cidr]=$CLUSTER_CIDR",
        USUAL,
        (0, ""),
    );
    check_fitting("ours cni0 10.244.0.1/24", USUAL, (1, "10.244.0.0/24 (cni0)"));
    // Of another cluster.
    check_fitting(OURS, ("10.244.0.0/14", "10.96.0.0/16"), (1, "10.244.0.0/16 (blackhole)"));
}

#[test]
fn networks_of_ipv6_are_not_within_the_clusters_either() {
    check_fitting("lan 10.96.0.0/16", TWO, (1, "within --service-cidr 10.96.0.0/16"));
    check_fitting("lan 192.0.2.1/24; ip addr add fd00:1::1/64 dev lan", TWO, (0, ""));
    check_fitting(
        "lan fd00:10:244:7::1/64; lan fd00:10:245::1/60; lan fd00:10:246:f0::1/124",
        TWO,
        (
            1,
            "fd00:10:244:7::/64 (lan) of this host lies within --cluster-cidr fd00:10:244::/56, so what \
             has an address there would not be reached: give --cluster-cidr 10.244.0.0/16,fd00:10:247::/56\n",
        ),
    );
    check_fitting(
        "lan 192.0.2.1/24; ip route add unreachable fd00:10:96::9",
        ("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"),
        (1, "fd00:10:96::9 (unreachable) of this host lies within --service-cidr fd00:10:96::/112"),
    );
    let around = "fd00:10:96::/112 is a part of fd00:10::/32 (lan) of this host";
    check_fitting(
        "lan fd00:10::1/32",
        ("10.244.0.0/16,fd00:11::/56", "10.96.0.0/16,fd00:10:96::/112"),
        (0, around),
    );
    let left_of_two = format!(
        "{OURS}; ip addr add fd00:10:244::1/64 dev mk8s12345678; ip addr add fd00:10:96::a/128 dev lo; \
         ip addr add 2001:db8::1/64 dev lan nodad; ip route add fd00:10:244:1::/64 via 2001:db8::7 proto 138; \
         ip route add blackhole fd00:10:244::/56 proto static; ip route add blackhole fd00:10:96::/112 proto static"
    );
    check_fitting(&left_of_two, TWO, (0, ""));
}

#[test]
fn ranges_are_of_ipv4_or_of_both_families_that_the_host_has() {
    let folder = StandIns::new(&[]);
    let check = |host: &str, ranges: &str, expected: &str| {
        let (pods, services) = ranges.split_once(' ').unwrap();
        let fitting = format!("CLUSTER_CIDR={pods} SERVICE_CIDR={services}; {host}; fitting give");
        let (code, said) =
            folder.bash(&format!("unshare --net bash <<'END'\n{NETWORKS}{fitting}\nEND\n"));
        assert_eq!((code, said.is_empty()), (i32::from(!expected.is_empty()), expected.is_empty()));
        assert!(said.contains(expected), "{said}");
    };
    let (up, two) =
        ("ip link set lo up", "10.244.0.0/16,fd00:10:244::/56 10.96.0.0/16,fd00:10:96::/112");
    check(up, "10.244.0.0/16 10.96.0.0/16", "");
    check(up, two, "");
    check("true", two, "this host has no IPv6");
    check("true", "10.244.0.0/16 10.96.0.0/16", "");
    check(
        up,
        "10.244.0.0/16,fd00:10:244::/56 10.96.0.0/16",
        "both need a range of IPv6, or neither",
    );
    let other = "--service-cidr fd00:10:96::/112,10.96.0.0/16: must be a range of IPv4, or one of IPv4 and behind a comma one of IPv6 \
                 (10.96.0.0/16,fd00:10:96::/112)";
    check(up, "10.244.0.0/16,fd00:10:244::/56 fd00:10:96::/112,10.96.0.0/16", other);
    check(
        up,
        "10.244.0.0/16,10.245.0.0/16 10.96.0.0/16",
        "--cluster-cidr 10.244.0.0/16,10.245.0.0/16: must be",
    );
}

#[test]
fn without_docker_a_cluster_stays_whole() {
    let folder = StandIns::new(&[("bin/docker", "exit 1"), ("cluster/kubelet-n1.conf", "")]);
    let purge = "for kind in config state log run; do set -- \"$@\" --$kind-dir $HERE/cluster; done; \
                 scripts/down.sh --purge \"$@\"";
    let (code, said) = folder.bash(purge);
    assert!(code == 1 && said.contains("Docker does not answer"), "{said}");
    folder.check("ls $HERE/cluster", "kubelet-n1.conf\n");
}

const IMAGES: &str = ". scripts/images.sh; ";

/// As the first process of a namespace it reaps what is left to it and ends when asked. For another architecture it can be tried
/// only where there is a compiler for it and something that runs what it makes.
#[test]
fn the_pause_container_reaps_and_ends_on_every_architecture() {
    let folder = StandIns::new(&[]);
    let alone = r#"
        unshare --pid --fork --kill-child "$HERE/pause" &
        outer=$!
        until pause=$(pgrep -P $outer -x pause); do sleep 0.01; done
        nsenter -t $pause -p sh -c '(sleep 0.1 &)'
        until [ -n "$(ps -o pid= --ppid $pause)" ]; do sleep 0.01; done
        while [ -n "$(ps -o pid= --ppid $pause)" ]; do sleep 0.01; done
        kill -TERM $pause
        wait $outer
        echo ended $?"#;
    folder.check(&format!("{IMAGES}compile_pause gcc $HERE/pause; {alone}"), "ended 0\n");
    // With a handler missing it would end by the signal, and not with 0.
    let foreign = r#"
        qemu-aarch64 "$HERE/pause" &
        # 128: it waits for signals.
        until read -r call _ <"/proc/$!/syscall" && [ "$call" = 128 ]; do sleep 0.01; done
        kill -TERM $!
        wait $!
        echo ended $?"#;
    let (cross, _) = folder.bash(
        "[ $(uname -m) = x86_64 ] && command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64",
    );
    if cross == 0 {
        let compile = "compile_pause aarch64-linux-gnu-gcc $HERE/pause; ";
        folder.check(&format!("{IMAGES}{compile}{foreign}"), "ended 0\n");
    }
}

#[test]
fn images_are_made_from_the_mirrors_that_the_machine_uses() {
    let targets = "contrib https://mirror.example/debian/\nmain https://mirror.example/debian/\n\
                   main https://mirror.example/security/";
    let has = r#"case $* in *debian/dists/bookworm/*|*debian/dists/bookworm-updates/*|*security/dists/bookworm-security/*) ;; *) exit 1 ;; esac"#;
    let folder = StandIns::new(&[
        ("bin/apt-get", &format!("[ $1 = indextargets ] && echo '{targets}'")),
        ("bin/curl", has),
        ("bin/apt-config", r#"case $3 in *http::*) echo "$2='http://proxy.example:3142'" ;; esac"#),
    ]);
    folder.check(
        &format!("{IMAGES}sources"),
        "deb https://mirror.example/debian/ bookworm main\n\
         deb https://mirror.example/debian/ bookworm-updates main\n\
         deb https://mirror.example/security/ bookworm-security main\n",
    );
    folder.check(
        &format!("{IMAGES}find_proxies; echo ${{#proxies[@]}} \"${{proxies[@]}}\""),
        "1 --aptopt=Acquire::http::Proxy \"http://proxy.example:3142\"\n",
    );
}

#[test]
fn portainer_listens_on_this_host_alone_unless_told_otherwise() {
    let asked = |flags: &str| {
        let folder = StandIns::new(&[("bin/docker", r#"echo "$*" >>"$HERE/calls""#)]);
        let (code, said) = folder.bash(&format!("scripts/portainer.sh {flags}"));
        assert_eq!(code, 0, "{said}");
        fs::read_to_string(folder.path("calls")).unwrap()
    };
    let run = |address: &str, image: &str| {
        format!(
            "info\nrm -f portainer\nrun -d --name portainer --restart always -p {address}:9000 \
             -v /var/run/docker.sock:/var/run/docker.sock -v portainer_data:/data {image}\n"
        )
    };
    assert_eq!(asked(""), run("127.0.0.1:9000", "portainer/portainer-ce:lts"));
    let elsewhere = "--address 0.0.0.0 --port 9001 --image r:5000/portainer";
    assert_eq!(asked(elsewhere), run("0.0.0.0:9001", "r:5000/portainer"));
    assert_eq!(asked("--remove"), "info\nrm -f portainer\n");
}

/// A host's files, and the flags that name them.
fn name_servers(programs: &[(&str, &str)], resolv_conf: &str) -> StandIns {
    let host = StandIns::new(programs);
    fs::write(host.path("resolv.conf"), resolv_conf).unwrap();
    host
}

const HOST_DNS: &str = "set -euo pipefail; dns() { scripts/host-dns.sh --resolv-conf $HERE/resolv.conf --resolved $HERE/resolved.conf.d \
     --daemon-json $HERE/daemon.json \"$@\" 2>/dev/null; }; ";

#[test]
fn a_host_asks_the_clusters_dns_first_and_is_given_back_as_it_was() {
    let before = "search a.b\nnameserver 192.0.2.1\n";
    let host = name_servers(&[("bin/kubectl", "echo 10.96.0.10")], before);
    let ours = "nameserver 10.96.0.10 # minik8s\n";
    host.check(&format!("{HOST_DNS} dns; dns; cat $HERE/resolv.conf"), &format!("{ours}{before}"));
    // Somebody else adds a line, which stays.
    let add = "echo 'options edns0' >>$HERE/resolv.conf; ";
    host.check(
        &format!("{HOST_DNS}{add} dns --remove; dns --remove; cat $HERE/resolv.conf"),
        &format!("{before}options edns0\n"),
    );
    // Another cluster takes back what is its own.
    host.check(
        &format!("{HOST_DNS} dns; dns --remove --address 10.97.0.10; cat $HERE/resolv.conf"),
        &format!("{ours}{before}options edns0\n"),
    );
    host.check(
        &format!("{HOST_DNS} dns --remove --address 10.96.0.10; cat $HERE/resolv.conf"),
        &format!("{before}options edns0\n"),
    );
    let nobody = name_servers(&[("bin/kubectl", "exit 1")], before);
    let (code, _) = nobody.bash(&format!("{HOST_DNS} dns"));
    assert_eq!((code, nobody.bash("cat $HERE/resolv.conf").1), (1, before.to_owned()));
}

#[test]
fn systemd_resolved_is_told_and_asked_to_forget() {
    let systemctl = ("bin/systemctl", r#"echo "$*" >>"$HERE/calls""#);
    let stub = "nameserver 127.0.0.53\n";
    let host = name_servers(&[systemctl], stub);
    let given = format!("{HOST_DNS} dns --address 10.96.0.10; cat $HERE/resolved.conf.d/*; ");
    host.check(
        &format!("{given} cat $HERE/resolv.conf"),
        &format!(
            "# Of scripts/host-dns.sh.\n[Resolve]\nDNS=10.96.0.10\nDomains=~cluster.local\n{stub}"
        ),
    );
    let elsewhere = "dns --address 10.96.0.10 --domain example.org; ";
    host.check(
        &format!("{HOST_DNS}{elsewhere} tail -n 1 $HERE/resolved.conf.d/*"),
        "Domains=~example.org\n",
    );
    let restart = "restart systemd-resolved\n";
    let removed = "dns --remove; dns --remove; ls $HERE/resolved.conf.d; cat $HERE/calls";
    host.check(&format!("{HOST_DNS}{removed}"), &restart.repeat(3));
    fs::write(host.path("resolved.conf"), "[Resolve]\nDNS=192.0.2.1\n").unwrap();
    let (code, _) = host.bash(&given);
    assert_eq!(code, 1, "resolved would ask only one of the two");
}

#[test]
fn containers_ask_the_clusters_dns_by_dockers_own_file() {
    let host = name_servers(&[], "nameserver 127.0.0.1\nnameserver 192.0.2.1\n");
    let docker = "dns --address 10.96.0.10 --docker; ";
    let shown = "tr -d ' \\n' <$HERE/daemon.json; echo; ";
    let gone = "dns --remove; ls $HERE";
    host.check(
        &format!("{HOST_DNS}{docker}{docker}{shown}{gone}"),
        "{\"dns\":[\"10.96.0.10\",\"192.0.2.1\"]}\nresolv.conf\n",
    );
    let own = r#"{"dns":["192.0.2.7"],"live-restore":true}"#;
    fs::write(host.path("daemon.json"), own).unwrap();
    host.check(
        &format!("{HOST_DNS}{docker}{shown} dns --remove; {shown}"),
        &format!("{}\n{own}\n", own.replace("[", "[\"10.96.0.10\",")),
    );
    fs::write(host.path("daemon.json"), "{").unwrap();
    let (code, _) = host.bash(&format!("{HOST_DNS}{docker}"));
    assert_eq!((code, host.bash("cat $HERE/daemon.json").1), (1, "{".to_owned()));
    let alone = name_servers(&[], "nameserver 127.0.0.1\n");
    let (code, _) = alone.bash(&format!("{HOST_DNS}{docker}"));
    assert!(
        code == 1 && !Path::new(&alone.path("daemon.json")).exists(),
        "it would ask the cluster alone"
    );
}

#[test]
fn dockers_file_keeps_its_mode_its_owner_and_the_link_to_it() {
    let host = name_servers(&[], "nameserver 192.0.2.1\n");
    let make = r#"mkdir "$HERE/own"; printf '{"debug":true}' >"$HERE/own/docker.json"; chown 7:8 "$HERE/own/docker.json"
        chmod 640 "$HERE/own/docker.json"; ln -s own/docker.json "$HERE/daemon.json"; "#;
    let shown = r#"ls "$HERE/own"; readlink "$HERE/daemon.json"; stat -Lc '%a %u:%g' "$HERE/daemon.json"; tr -d ' \n' <"$HERE/daemon.json"; echo; "#;
    let kept = "docker.json\nown/docker.json\n640 7:8\n";
    host.check(
        &format!(
            "{make}{HOST_DNS} dns --address 10.96.0.10 --docker; {shown} dns --remove; {shown}"
        ),
        &format!(
            "{kept}{{\"debug\":true,\"dns\":[\"10.96.0.10\",\"192.0.2.1\"]}}\n{kept}{{\"debug\":true}}\n"
        ),
    );
}

#[test]
fn pipelines_call_scripts_that_there_are() {
    let workflow = fs::read_to_string(root().join("deploy/ci-workflow.yaml")).unwrap();
    let parsed: serde_yaml::Value = serde_yaml::from_str(&workflow).unwrap();
    assert!(parsed["jobs"]["deploy"]["needs"] == "test", "nothing is rolled out untested");
    let jenkins = fs::read_to_string(root().join("deploy/Jenkinsfile")).unwrap();
    for text in [&workflow, &jenkins] {
        let words = text.split(|c: char| c.is_whitespace() || "'\"".contains(c));
        let named: Vec<_> = words.filter(|word| word.starts_with("scripts/")).collect();
        assert!(named.contains(&"scripts/test.sh") && named.contains(&"scripts/deploy.sh"));
        for script in named {
            let mode = fs::metadata(root().join(script)).unwrap().permissions().mode();
            assert!(mode & 0o100 != 0, "{script}");
        }
    }
}

/// Takes `kubeconfig … --output FILE …`.
const KUBECONFIG: &str = r#"while [ "$1" != --output ]; do shift; done
printf '%s: YQ==\n' certificate-authority-data client-certificate-data client-key-data >"$2""#;

#[test]
fn prometheus_asks_at_this_host_for_what_only_this_host_is_told() {
    let here = StandIns::new(&[("release/apiserver", KUBECONFIG), ("state/nothing", "")]);
    fs::create_dir(here.path("etc")).unwrap();
    fs::write(here.path("etc/admin.conf"), "    server: https://127.0.0.1:6443\n").unwrap();
    let targets = |monitoring: bool, offset: u16| {
        let settings = format!("monitoring={monitoring}\nport-offset={offset}\n");
        fs::write(here.path("state/cluster.conf"), settings).unwrap();
        let run = "CARGO_TARGET_DIR=$HERE scripts/monitoring.sh --state-dir $HERE/state --config-dir $HERE/etc";
        let (code, said) = here.bash(run);
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains("up.sh --monitoring"), !monitoring, "{said}");
        let configuration = fs::read_to_string(here.path("etc/monitoring/prometheus.yml")).unwrap();
        let addresses = configuration.lines().filter_map(|line| line.split("replacement: ").nth(1));
        addresses.map(|address| address.replace(['\'', '}'], "")).collect::<Vec<_>>()
    };
    assert_eq!(targets(true, 0), ["$1:10257", "$1:10259", "$1:8081", "$1:10249"]);
    let loopback = ["127.0.0.1:10357", "127.0.0.1:10359", "$1:8181", "127.0.0.1:10356"];
    assert_eq!(targets(false, 100), loopback);
}
