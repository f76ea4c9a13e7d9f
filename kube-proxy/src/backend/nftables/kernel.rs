//! The kernel's side of the rules: their table, the flags without which they do not work, and the flows that it remembers.

use std::{fs, io};

use ipnet::Ipv4Net;
use packet_filter::{
    connections::{self, Flows},
    nftables::Table,
};

use crate::{bridged, reconciler::ReconcileError};

/// Whether packets are passed on between links.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

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

    /// What rules of addresses need: also that packets between ports of one bridge go by them.
    pub(super) async fn set_flags(&self) -> Result<(), ReconcileError> {
        set(FORWARDING).map_err(|error| ReconcileError::Flag(FORWARDING, error))?;
        Ok(bridged::packets_meet_the_rules().await?)
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
