//! The kernel's side of the rules: their table, the flags without which they do not work, and the flows that it remembers.

use std::{fs, io};

use ipnet::Ipv4Net;
use packet_filter::{
    connections::{self, Flows},
    nftables::Table,
};

use crate::reconciler::ReconcileError;

/// What rules of addresses need: that packets are passed on between links, and that those between ports of one bridge
/// go by the rules as well. The second is there once the kernel's module `br_netfilter` is, which Docker loads.
const FLAGS: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables"];

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) table: Table,
    range: Ipv4Net,
}

impl Kernel {
    /// Several clusters of a host have a table each.
    pub(super) fn new(range: Ipv4Net) -> Self {
        let (network, length) = (range.network().to_bits(), range.prefix_len());
        let name = format!("minik8s-services-{network:08x}-{length}");
        Kernel { table: Table { family: "ip", name }, range }
    }

    pub(super) fn set_flags(&self) -> Result<(), ReconcileError> {
        FLAGS.into_iter().try_for_each(|flag| set(flag).map_err(|e| ReconcileError::Flag(flag, e)))
    }

    pub(super) async fn forget(&self, flows: Flows) -> Result<(), ReconcileError> {
        Ok(connections::forget(flows).await?)
    }

    /// All flows to virtual IPs.
    pub(super) fn all_flows(&self) -> Flows {
        Flows::Into(self.range)
    }
}

fn set(flag: &str) -> io::Result<()> {
    match fs::read_to_string(flag)?.trim() {
        "1" => Ok(()),
        _ => fs::write(flag, "1"),
    }
}
