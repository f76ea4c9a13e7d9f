//! The kernel's side of the rules: their table, the flags without which they do not work, and the flows that it remembers.

use std::{collections::BTreeSet, fs, io};

use component::dual_stack::DualStack;
use ipnet::IpNet;
use packet_filter::{
    connections::{self, Flows},
    nftables::Table,
};

use crate::{bridged, family::Family, reconciler::ReconcileError};

/// Whether packets are passed on between links.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARDING_OF_IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// What there is of one family.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) table: Table,
    pub(super) family: Family,
    range: IpNet,
}

impl Kernel {
    /// One for each family. Several clusters of a host have a table each, named after the range of IPv4.
    pub(super) fn of(ranges: &DualStack) -> Vec<Self> {
        let (network, length) = (ranges.v4.network().to_bits(), ranges.v4.prefix_len());
        let name = format!("minik8s-services-{network:08x}-{length}");
        let kernel = |range: IpNet| {
            let family = Family::of(range.addr());
            Kernel { table: Table { family: family.word(), name: name.clone() }, family, range }
        };
        ranges.iter().map(kernel).collect()
    }

    /// What rules of addresses need: also that packets between ports of one bridge go by them.
    pub(super) async fn set_flags(&self) -> Result<(), ReconcileError> {
        let flag = match self.family {
            Family::Ipv4 => FORWARDING,
            Family::Ipv6 => FORWARDING_OF_IPV6,
        };
        set(flag).map_err(|error| ReconcileError::Flag(flag, error))?;
        Ok(bridged::packets_meet_the_rules(self.family).await?)
    }

    /// All flows to virtual IPs, and those of these that are to other addresses.
    pub(super) fn all_flows(&self, known: BTreeSet<Flows>) -> BTreeSet<Flows> {
        let is_elsewhere = |flows: &Flows| match flows {
            Flows::Led { to, .. } | Flows::To(to) => !self.range.contains(&to.ip()),
            Flows::Into(_) => true,
        };
        known.into_iter().filter(is_elsewhere).chain([Flows::Into(self.range)]).collect()
    }
}

pub(super) async fn forget(flows: Flows) -> Result<(), ReconcileError> {
    Ok(connections::forget(flows).await?)
}

fn set(flag: &str) -> io::Result<()> {
    match fs::read_to_string(flag)?.trim() {
        "1" => Ok(()),
        _ => fs::write(flag, "1"),
    }
}
