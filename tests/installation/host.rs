//! Copies of this host: what is installed in one is gone with it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// `copy NAME` makes one: `$HERE/NAME/root` is this host's files, and what is written stays in memory. The repository and what was
/// built are there as they are. `within NAME SCRIPT` runs something in it.
const PRELUDE: &str = r#"
    set -euo pipefail
    exec 2>&1
    mount --make-rprivate /
    mount -t tmpfs none "$HERE"
    ip link set lo up
    cd "$REPOSITORY"
    copy() {
        local root=$HERE/$1/root folder
        mkdir -p "$HERE/$1"/{up,work,root}
        mount -t overlay overlay -o "lowerdir=/,upperdir=$HERE/$1/up,workdir=$HERE/$1/work" "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        mount -t tmpfs none "$root/run"
        mount -t tmpfs none "$root/tmp"
        for folder in "$REPOSITORY" "$PROGRAMS"; do
            mkdir -p "$root$folder"
            mount --bind "$folder" "$root$folder"
        done
        mkdir -p "$root/run/systemd/system"
        cp --remove-destination tests/stand_ins/systemctl "$root/usr/bin/systemctl"
        # Another installation on this host is not the test's.
        rm -rf "$root"/{etc,usr/lib,var/lib}/minik8s "$root"/usr/lib/systemd/system/minik8s-*
    }
    within() {
        chroot "$HERE/$1/root" env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin REPOSITORY="$REPOSITORY" PROGRAMS="$PROGRAMS" \
            bash -euo pipefail -c 'cd "$REPOSITORY"; '"$2"
    }
"#;

/// `use_node` makes what a node of both families makes of its host; `what_is_left` tells of what was not there before, and whom the
/// host asks for names.
pub(crate) const LEFT_BEHIND: &str = r#"
    . scripts/lib/common.sh; . scripts/lib/leftovers.sh; . tests/stand_ins/node.sh
    use_node() {
        printf '%s\n' MINIK8S_CLUSTER_CIDR=10.244.0.0/16,fd00:10:244::/56 MINIK8S_SERVICE_CIDR=10.96.0.0/16,fd00:10:96::/112 >/etc/minik8s/cluster.env
        echo MINIK8S_NODE_NAME=n1 >>/etc/minik8s/kubelet.env
        echo MINIK8S_CLUSTER_DNS=10.96.0.10 >>/etc/minik8s/kube-proxy.env
        echo nameserver 192.0.2.1 >/etc/resolv.conf
        seen >/tmp/before
        make_node n1
        scripts/host-dns.sh --address 10.96.0.10
        mkdir -p /var/lib/minik8s/{kubelet,kube-proxy,volumes/pvc-1/data}
        echo n1 >/var/lib/minik8s/volumes/.pvc-1.made
    }
    what_is_left() { { seen | diff /tmp/before - || true; } && cat /etc/resolv.conf; }
"#;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where the programs are that `cargo build` made.
pub(crate) fn built() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| repository().join("target")).join("debug")
}

/// A folder with something in the place of each program, which says `word` and ends.
pub(crate) fn programs_that_say(word: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names = testkit::PROGRAMS;
    for name in names {
        let path = folder.path().join(name);
        // Something that a package can be told the libraries of.
        fs::write(&path, format!("#!/bin/sh\n# GLIBC_2.36\necho {word}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// The exit code and all output of a piece of bash on one such copy.
pub(crate) fn on_a_copy(programs: &Path, script: &str) -> (i32, String) {
    beside_copies(programs, &format!("copy host\nwithin host '{}'", script.replace('\'', r"'\''")))
}

/// The same beside copies that it makes itself. There is no network but loopback.
pub(crate) fn beside_copies(programs: &Path, script: &str) -> (i32, String) {
    let here = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child"])
        .args(["bash", "-c", &format!("{PRELUDE}\n{script}")])
        .env("HERE", here.path())
        .env("REPOSITORY", repository())
        .env("PROGRAMS", programs)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), said.into_owned())
}

/// What it prints last, from the line `--` on.
#[track_caller]
pub(crate) fn check(programs: &Path, script: &str, expected: &str) {
    let (code, said) = on_a_copy(programs, script);
    assert_eq!(code, 0, "{said}");
    let (before, shown) = said.split_once("--\n").unwrap_or((&said, ""));
    assert_eq!(shown, expected, "before that: {before}");
}
