//! `scripts/deploy.sh` over a real sshd, to a master and a worker whose programs are stand-ins with a version: some do not get ready.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;
use testkit::Authority;

use crate::host::beside_copies;

/// What is in the place of a program: ready, unless it is broken, and says its version.
const PROGRAM: &str = r#"#!/usr/bin/env python3
# GLIBC_2.36
import http.server, os, socket, ssl, sys

NAME, VERSION, BROKEN = os.path.basename(sys.argv[0]), "{version}", "{broken}"
PORTS = {"apiserver": 6443, "scheduler": 10259, "controller-manager": 10257, "serverless-gateway": 8081, "kubelet": 10248, "kube-proxy": 10256}

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = self.path != "/readyz" or NAME != BROKEN
        self.send_response(200 if ready else 500)
        self.end_headers()
        self.wfile.write(VERSION.encode() if ready else b"[-]broken failed")

http.server.HTTPServer.allow_reuse_address = True
server = http.server.HTTPServer(("127.0.0.1", PORTS[NAME]), Answer)
if NAME == "apiserver":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("{folder}/tls.crt", "{folder}/tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for program in ("scheduler", "controller-manager", "serverless-gateway"):
        open(f"/var/lib/minik8s/kubeconfigs/{program}.conf", "w").close()
    os.makedirs("/var/lib/minik8s/apiserver/pki", exist_ok=True)
    for file in ("ca.crt", "ca.key"):
        open(f"/var/lib/minik8s/apiserver/pki/{file}", "w").close()
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever()
"#;

/// A build of all programs, of which one may be broken.
fn build(folder: &Path, version: &str, broken: &str) {
    let bin = folder.join(version);
    fs::create_dir(&bin).unwrap();
    let text = PROGRAM.replace("{version}", version).replace("{broken}", broken);
    let text = text.replace("{folder}", &folder.display().to_string());
    for name in testkit::PROGRAMS {
        fs::write(bin.join(name), &text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn builds() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    fs::copy(authority.certificate(), folder.path().join("tls.crt")).unwrap();
    fs::copy(authority.key(), folder.path().join("tls.key")).unwrap();
    // The user that the API server runs as reads them.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (version, broken) in
        [("one", ""), ("two", ""), ("bad-node", "kube-proxy"), ("bad-plane", "scheduler")]
    {
        build(folder.path(), version, broken);
    }
    folder
}

/// The hosts `plane` and `node`, with an sshd each, and version `one`.
const HOSTS: &str = r#"
    ssh-keygen -q -t ed25519 -N '' -f "$HERE/key"
    port=2200
    for host in plane node; do
        port=$((port + 1))
        copy $host
        root=$HERE/$host/root
        mkdir -p "$root/run/sshd" "$root/run/ssh"
        ssh-keygen -q -t ed25519 -N '' -f "$root/run/ssh/host_key"
        install -m 600 "$HERE/key.pub" "$root/run/ssh/authorized_keys"
        printf '%s\n' 'ListenAddress 127.0.0.1' "Port $port" 'HostKey /run/ssh/host_key' 'PidFile /run/ssh/pid' 'UsePAM no' 'StrictModes no' \
            'PermitRootLogin prohibit-password' 'AuthorizedKeysFile /run/ssh/authorized_keys' >"$root/run/ssh/sshd_config"
        within $host '$(command -v sshd) -f /run/ssh/sshd_config'
        printf '%s\n' "Host $host" '  HostName 127.0.0.1' "  Port $port" '  User root' "  IdentityFile $HERE/key" \
            "  HostKeyAlias $host" "  UserKnownHostsFile $HERE/known" >>"$HERE/ssh_config"
        echo "$host $(cut -d' ' -f1,2 "$root/run/ssh/host_key.pub")" >>"$HERE/known"
    done
    install() { within "$1" "scripts/install.sh $2 --bin $PROGRAMS/one --release one" >"$HERE/said" || { cat "$HERE/said"; exit 1; }; }
    mkdir -p "$HERE/node/root/etc/minik8s" && touch "$HERE/node/root/etc/minik8s/kubelet.conf" "$HERE/node/root/etc/minik8s/kube-proxy.conf"
    install plane master
    install node worker
    deploy() { scripts/deploy.sh --ssh "ssh -F $HERE/ssh_config -o BatchMode=yes" --bin "$PROGRAMS/$1" --release "$1" --patience 2 node plane; }
    running() {
        local port
        echo "$(curl -sk https://127.0.0.1:6443/) $(for port in 10259 10257 8081 10248 10256; do curl -s 127.0.0.1:$port/; echo; done | xargs)"
        for host in plane node; do basename "$(readlink "$HERE/$host/root/usr/lib/minik8s/current")"; ls "$HERE/$host/root/usr/lib/minik8s" | xargs; done | xargs
    }
"#;

#[track_caller]
fn check(script: &str, told: &[&str], expected: &str) {
    let builds = builds();
    let (code, said) = beside_copies(builds.path(), &format!("{HOSTS}{script}"));
    assert_eq!(code, 0, "{said}");
    let (before, shown) = said.split_once("--\n").unwrap();
    let mut rest = before;
    for line in told {
        rest = rest.split_once(line).unwrap_or_else(|| panic!("{line} in its turn: {said}")).1;
    }
    assert_eq!(shown, expected, "{before}");
}

#[test]
fn masters_come_before_workers_and_all_run_the_new_version() {
    let told = [
        "plane (master): from one to two",
        "node (worker): from one to two",
        "two runs on plane node",
    ];
    let expected = "two two two two two two\ntwo current releases two current releases\n";
    check("deploy two; echo --; running", &told, expected);
}

#[test]
fn what_does_not_get_ready_brings_every_host_back() {
    let told = [
        "plane (master): from one to bad-node",
        "node (worker): from one to bad-node",
        "minik8s-kube-proxy.service is not ready after 2 s",
        "[-]broken failed",
        "going back to one",
        "version bad-node does not run; one does, again",
        "plane: back to one",
        "version bad-node is not rolled out: see above what was wrong on node",
    ];
    let expected = "one one one one one one\none current releases one current releases\n";
    check("if deploy bad-node; then exit 1; fi; echo --; running", &told, expected);
}

#[test]
fn a_worker_is_not_touched_while_the_masters_are_not_well() {
    let told = [
        "from one to bad-plane",
        "minik8s-scheduler.service is not ready",
        "going back to one",
        "version bad-plane does not run; one does, again",
    ];
    let script = r#": >"$HERE/node/root/run/stand-in/calls"; if deploy bad-plane; then exit 1; fi; echo --; running; cat "$HERE/node/root/run/stand-in/calls""#;
    let expected = "one one one one one one\none current releases one current releases\n";
    check(script, &told, expected);
}

#[test]
fn what_somebody_has_disabled_stays_so_and_stopped() {
    let script = r#"
        within plane 'systemctl disable minik8s-serverless-gateway.service; systemctl stop minik8s-serverless-gateway.service; : >/run/stand-in/calls'
        deploy two
        echo --
        running
        grep -c '^enable\|^start.*gateway\|^restart.*gateway' "$HERE/plane/root/run/stand-in/calls" || true"#;
    let told = ["two runs on plane node"];
    let expected = "two two two two two\ntwo current releases two current releases\n0\n";
    check(script, &told, expected);
}

/// `begin` rolls out the version that never gets ready on the node, and returns once it waits there: the plane has it by then.
/// A shell can't trap what was ignored when it began, as Ctrl-C may be by whoever runs the tests.
/// `signal` is sent to all of the deployment, as a terminal does, with `-` before the process id, or to its script alone.
const INTERRUPTED: &str = r#"
    set -m
    begin() {
        (exec env --default-signal=INT scripts/deploy.sh --ssh "ssh -F $HERE/ssh_config -o BatchMode=yes" --bin "$PROGRAMS/bad-node" --release bad-node --patience 100 node plane) \
            >"$HERE/said" 2>&1 &
        deploying=$!
        until [ "$(curl -s 127.0.0.1:10256/)" = bad-node ]; do goes_on; done
    }
    goes_on() { sleep 0.05 && kill -0 "$deploying" || { cat "$HERE/said"; exit 1; }; }
    signal() { kill -"$1" -- "$2$deploying"; }
    ended() {
        local code=0
        wait $deploying || code=$?
        cat "$HERE/said"
        echo "exit code $code"
        echo --
        running
    }
"#;
const ALL_AS_BEFORE: &str = "one one one one one one\none current releases one current releases\n";

#[test]
fn a_deployment_that_is_told_to_end_goes_back_on_all_hosts() {
    let script = format!("{INTERRUPTED} begin; signal TERM ''; ended");
    let told = [
        "node (worker): from one to bad-node",
        "interrupted: going back",
        "one does, again",
        "plane: back to one",
        "version bad-node is not rolled out: this was interrupted",
        "exit code 143",
    ];
    check(&script, &told, ALL_AS_BEFORE);
}

#[test]
fn a_second_interruption_does_not_keep_hosts_from_going_back() {
    let script = format!(
        r#"{INTERRUPTED} begin; signal INT -
        until grep -q 'plane: back to one' "$HERE/said"; do goes_on; done
        signal INT -
        signal TERM ''
        ended"#
    );
    let told = [
        "interrupted: going back",
        "plane: back to one",
        "version bad-node is not rolled out: this was interrupted",
        "exit code 130",
    ];
    check(&script, &told, ALL_AS_BEFORE);
}

/// `replace WORD…` puts the version that never gets ready in force on the node, and has somebody wait for it.
const NEVER_READY: &str = r#"
    replace() {
        within node "MINIK8S_PATIENCE=100 scripts/install.sh worker --bin $PROGRAMS/bad-node --release bad-node" &
        replacing=$!
        until [ "$(curl -s 127.0.0.1:10256/)" = bad-node ]; do sleep 0.05; done
        within node "kill -$1 \$(pgrep -f '^bash scripts/install.sh')"
        if wait $replacing; then exit 1; fi
    }
"#;

#[test]
fn an_installation_that_is_interrupted_goes_back() {
    let script = format!("{NEVER_READY} replace TERM; echo --; running");
    let told = ["and this was interrupted: going back to one", "one does, again"];
    let expected = "one one one one one one\none current releases one current releases\n";
    check(&script, &told, expected);
}

#[test]
fn what_was_good_is_known_when_an_installation_is_killed() {
    let script = format!(
        r#"{NEVER_READY} replace KILL
        within node 'basename "$(readlink /usr/lib/minik8s/current)"'
        if deploy bad-node; then exit 1; fi
        echo --
        running"#
    );
    let told = ["bad-node", "node (worker): from one to bad-node", "going back to one"];
    let expected = "one one one one one one\none current releases one current releases\n";
    check(&script, &told, expected);
}
