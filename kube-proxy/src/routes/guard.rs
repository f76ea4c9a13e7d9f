//! Who may send frames to this host's end of the VXLAN, which itself takes them of everybody, and what is in them may come
//! from any address: a table of nftables that lets in those of the hosts that it leads to, for as long as there is a VXLAN.
//!
//! Pods send none, neither to this host nor to others: beyond the pods' range they have the address of their host, whom
//! the others believe. Other clusters' VXLANs may have the same port: only frames with our number are kept out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    time::Duration,
};

use api_types::api::core::v1::Node;
use packet_filter::nftables::{Chain, Contents, Set, SetKind, Table};
use tokio::time::Instant;

use super::{
    Host,
    kernel::Kernel,
    seen::Seen,
    steps::plan,
    vxlan::{self, Overlay},
};

/// How often it is looked whether the kernel's table is as it was made.
const LOOK: Duration = Duration::from_secs(10);
/// The hosts that the VXLAN leads to.
const HOSTS: &str = "hosts";

/// Keeps the table of this host.
#[derive(Debug, Default)]
pub(super) struct Guard {
    known: Option<Known>,
}

/// What the kernel has.
#[derive(Debug)]
struct Known {
    wanted: Option<Contents>,
    looked: Instant,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("what this host has")]
    Kernel(#[from] netlink::Error),
    #[error("rules of nftables (its tool is in the package nftables)")]
    Rules(#[from] packet_filter::Error),
}

impl Guard {
    /// One pass. What is to be guarded is made after it.
    pub(super) async fn pass(
        &mut self,
        kernel: &Kernel,
        host: &Host,
        nodes: impl Iterator<Item = &Node> + Clone,
    ) -> Result<(), Fault> {
        let seen = kernel.look().await?;
        let wanted = wanted(host, &seen, &plan(host, &seen, nodes).overlay);
        if self.known.as_ref().is_some_and(|known| known.is(wanted.as_ref())) {
            return Ok(());
        }
        // Until it is known what there is: it may fail.
        self.known = None;
        settle(host, wanted.as_ref()).await?;
        self.known = Some(Known { wanted, looked: Instant::now() });
        Ok(())
    }
}

impl Known {
    fn is(&self, wanted: Option<&Contents>) -> bool {
        self.wanted.as_ref() == wanted && (wanted.is_none() || self.looked.elapsed() < LOOK)
    }
}

/// Makes the table what it should be; there is none if nothing is wanted.
///
/// # Errors
///
/// The tool is not there though something is wanted, refuses, or does not end.
pub async fn settle(host: &Host, wanted: Option<&Contents>) -> Result<(), packet_filter::Error> {
    let table = table(host);
    let Some(wanted) = wanted else {
        return match table.remove().await {
            // Where there is no tool there is no table.
            Err(packet_filter::Error::Run(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            done => done,
        };
    };
    table.ensure(wanted).await.map(drop)
}

/// What of the table is not as it should be, in words.
pub(crate) async fn differences(
    host: &Host,
    seen: &Seen,
    overlay: &Overlay,
) -> Result<Vec<String>, packet_filter::Error> {
    table(host).differences(wanted(host, seen, overlay).as_ref()).await
}

/// What is in the table; nothing where there is no VXLAN, and none is to be. One that is left over takes frames as well.
pub fn wanted(host: &Host, seen: &Seen, overlay: &Overlay) -> Option<Contents> {
    let is_left = || seen.links.iter().any(|it| vxlan::is_ours(it, host.cluster_cidr, seen));
    if overlay.device.is_none() && !is_left() {
        return None;
    }
    let (pods, port, number) = (host.cluster_cidr.v4, host.vxlan.port, host.vxlan.id);
    let of_pods = format!("iifname {{ {} }}", links(host, seen));
    // Behind the header of UDP and 32 bits.
    let frames = format!("udp dport {port} @th,96,24 {number}");
    let input = [format!("{frames} {of_pods} drop"), format!("{frames} ip saddr != @{HOSTS} drop")];
    let forward = ["daddr", "saddr"]
        .map(|which| format!("{of_pods} udp dport {port} ip {which} != {pods} drop"));
    let remotes: BTreeSet<Ipv4Addr> = overlay.forwardings.values().copied().collect();
    let element = |remote: Ipv4Addr| ((HOSTS.to_owned(), remote.to_string()), String::new());
    let hosts = Set { kind: SetKind::Set, definition: "type ipv4_addr".to_owned() };
    Some(Contents {
        chains: BTreeMap::from([chain("forward", &forward), chain("input", &input)]),
        sets: BTreeMap::from([(HOSTS.to_owned(), hosts)]),
        elements: remotes.into_iter().map(element).collect(),
    })
}

/// Before all others. At `input` packets are whole again.
fn chain(hook: &str, rules: &[String]) -> (String, Chain) {
    let of = format!("type filter hook {hook} priority raw; policy accept");
    (hook.to_owned(), Chain { hook: Some(of), rules: rules.to_vec() })
}

/// By which packets of pods come in, those of other hosts' pods included.
fn links(host: &Host, seen: &Seen) -> String {
    let of_pods = seen.addresses.iter().filter(|it| host.cluster_cidr.contains(it.address));
    let of_pods: BTreeSet<u32> = of_pods.map(|address| address.link).collect();
    let bridges = seen.links.iter().filter(|link| of_pods.contains(&link.index));
    let bridges = bridges.map(|link| link.name.clone());
    let names: BTreeSet<String> = bridges.chain([host.vxlan.name()]).collect();
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Several clusters of a host have a table each.
fn table(host: &Host) -> Table {
    let pods = host.cluster_cidr.v4;
    let (network, length) = (pods.network().to_bits(), pods.prefix_len());
    Table { family: "ip", name: format!("minik8s-vxlan-{network:08x}-{length}") }
}
