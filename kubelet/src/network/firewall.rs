//! The iptables rules of the pod network: text in the format of `iptables-restore` (pure), and the
//! commands that apply it.
//!
//! Everything of ours is in chains of ours, which `iptables-restore --noflush` replaces in one go; the
//! built-in chains only jump there. The chains that several kubelets of one host share are named after
//! the cluster's networks, so that all who share them give them the same content. Traffic is accepted by the pod CIDR, never by interface, and before
//! Docker's `FORWARD` policy, which is DROP.

use std::{net::Ipv4Addr, process::Stdio};

use ipnet::Ipv4Net;
use tokio::io::AsyncWriteExt;

use super::NetworkError;

/// A port of the node that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Only on this address of the node.
    pub host_ip: Option<Ipv4Addr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's address.
    pub pod_ip: Ipv4Addr,
    /// The pod's port.
    pub pod_port: u16,
}

/// The names of our chains.
#[derive(Clone, Debug)]
pub struct Chains {
    forward: String,
    postrouting: String,
    ports: String,
}

impl Chains {
    /// `cluster` and `node` tell clusters and nodes apart; a name has at most 28 bytes.
    pub fn new(cluster: &str, node: &str) -> Self {
        Self {
            forward: format!("MINIK8S-FWD-{cluster}"),
            postrouting: format!("MINIK8S-POST-{cluster}"),
            ports: format!("MINIK8S-HP-{node}"),
        }
    }
}

/// The rules that every node of the cluster needs.
pub fn forwarding(chains: &Chains, pods: Ipv4Net, services: Ipv4Net) -> String {
    let Chains { forward, postrouting, .. } = chains;
    format!(
        "*filter
:{forward} - [0:0]
-A {forward} -s {pods} -j ACCEPT
-A {forward} -d {pods} -j ACCEPT
COMMIT
*nat
:{postrouting} - [0:0]
-A {postrouting} -s 127.0.0.0/8 -d {pods} -j MASQUERADE
-A {postrouting} -d {pods} -j RETURN
-A {postrouting} -d {services} -j RETURN
-A {postrouting} -d 224.0.0.0/4 -j RETURN
-A {postrouting} -s {pods} -j MASQUERADE
COMMIT
"
    )
}

/// The node's own chain with its host ports.
pub fn host_ports<'a>(chains: &Chains, ports: impl Iterator<Item = &'a HostPort>) -> String {
    let chain = &chains.ports;
    let mut text = format!("*nat\n:{chain} - [0:0]\n");
    for port in ports {
        let address = port.host_ip.filter(|ip| !ip.is_unspecified());
        let address = address.map(|ip| format!(" -d {ip}/32")).unwrap_or_default();
        text.push_str(&format!(
            "-A {chain}{address} -p {} --dport {} -j DNAT --to-destination {}:{}\n",
            port.protocol, port.host_port, port.pod_ip, port.pod_port
        ));
    }
    text + "COMMIT\n"
}

/// A rule in a built-in chain that leads to one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    table: &'static str,
    from: &'static str,
    rule: Vec<String>,
}

impl Jump {
    fn new(table: &'static str, from: &'static str, rule: &str) -> Self {
        Self { table, from, rule: rule.split(' ').map(str::to_owned).collect() }
    }

    fn arguments(&self, command: &str) -> Vec<String> {
        let start = ["-w", "-t", self.table, command, self.from].map(str::to_owned);
        start.into_iter().chain(self.rule.iter().cloned()).collect()
    }
}

/// The jumps to our chains. Host ports do not apply to service addresses, which are local too.
pub fn jumps(chains: &Chains, services: Ipv4Net) -> Vec<Jump> {
    let to = |chain: &str| format!("-j {chain}");
    let local = format!("! -d {services} -m addrtype --dst-type LOCAL -j {}", chains.ports);
    vec![
        Jump::new("filter", "FORWARD", &to(&chains.forward)),
        Jump::new("nat", "POSTROUTING", &to(&chains.postrouting)),
        Jump::new("nat", "PREROUTING", &local),
        Jump::new("nat", "OUTPUT", &local),
    ]
}

/// Replaces the chains that the text declares.
pub async fn restore(text: &str) -> Result<(), NetworkError> {
    let command = ["-w".to_owned(), "--noflush".to_owned()];
    run("iptables-restore", &command, text).await
}

/// Adds the jump in front, unless it is there.
pub async fn ensure_jump(jump: &Jump) -> Result<(), NetworkError> {
    if run("iptables", &jump.arguments("-C"), "").await.is_ok() {
        return Ok(());
    }
    run("iptables", &jump.arguments("-I"), "").await
}

async fn run(program: &str, arguments: &[String], input: &str) -> Result<(), NetworkError> {
    let command = || format!("{program} {}", arguments.join(" "));
    let failed = |message: String| NetworkError::Firewall { command: command(), message };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn cidr(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn pods_are_accepted_and_masqueraded_by_their_network() {
        expect![[r"
            *filter
            :MINIK8S-FWD-c - [0:0]
            -A MINIK8S-FWD-c -s 10.244.0.0/16 -j ACCEPT
            -A MINIK8S-FWD-c -d 10.244.0.0/16 -j ACCEPT
            COMMIT
            *nat
            :MINIK8S-POST-c - [0:0]
            -A MINIK8S-POST-c -s 127.0.0.0/8 -d 10.244.0.0/16 -j MASQUERADE
            -A MINIK8S-POST-c -d 10.244.0.0/16 -j RETURN
            -A MINIK8S-POST-c -d 10.96.0.0/16 -j RETURN
            -A MINIK8S-POST-c -d 224.0.0.0/4 -j RETURN
            -A MINIK8S-POST-c -s 10.244.0.0/16 -j MASQUERADE
            COMMIT
        "]]
        .assert_eq(&forwarding(
            &Chains::new("c", "n"),
            cidr("10.244.0.0/16"),
            cidr("10.96.0.0/16"),
        ));
    }

    #[test]
    fn host_ports_lead_to_the_pod() {
        let port = HostPort {
            protocol: "tcp".into(),
            host_ip: None,
            host_port: 8080,
            pod_ip: [10, 244, 1, 2].into(),
            pod_port: 80,
        };
        let on_loopback = HostPort { host_ip: Some([127, 0, 0, 1].into()), ..port.clone() };
        expect![[r"
            *nat
            :MINIK8S-HP-n - [0:0]
            -A MINIK8S-HP-n -p tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
            -A MINIK8S-HP-n -d 127.0.0.1/32 -p tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
            COMMIT
        "]]
        .assert_eq(&host_ports(&Chains::new("c", "n"), [&port, &on_loopback].into_iter()));
    }

    #[test]
    fn jumps_are_checked_before_they_are_inserted() {
        let jump = Jump::new("filter", "FORWARD", "-j MINIK8S-FWD-c");
        let expected = ["-w", "-t", "filter", "-C", "FORWARD", "-j", "MINIK8S-FWD-c"];
        assert_eq!(jump.arguments("-C"), expected);
    }
}
