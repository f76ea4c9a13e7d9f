//! Whose packets come by which link of a bridge: what a pod sends from another address than its own ends there, so that others
//! may go by addresses, as network policies do. A table of nftables, of which nothing is anybody else's.
//!
//! Where it can't be written (no `nft`, or a kernel without rules for bridges) pods are connected all the same.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use component::check::Difference;
use packet_filter::{
    Error,
    nftables::{Chain, Contents, Found, Set, SetKind, Table},
};
use parking_lot::Mutex;

use super::PodAddresses;
use crate::describe::describe;

const LINKS: &str = "links";
const OWNERS: &str = "owners";
const OWNERS_V6: &str = "owners-v6";
/// Before whatever else looks at what comes by a bridge.
const HOOK: &str = "type filter hook prerouting priority -300";
/// Who looks for an address has none yet.
const RULES: [&str; 7] = [
    "iifname != @links accept",
    "meta protocol ip iifname . ip saddr @owners accept",
    "meta protocol arp iifname . arp saddr ip @owners accept",
    "meta protocol arp arp saddr ip 0.0.0.0 accept",
    "meta protocol ip6 iifname . ip6 saddr @owners-v6 accept",
    "meta protocol ip6 ip6 saddr :: meta l4proto ipv6-icmp accept",
    "drop",
];

/// The links of a node's pods.
#[derive(Debug)]
pub(super) struct Sources {
    table: Table,
    /// By link.
    owners: Mutex<BTreeMap<String, PodAddresses>>,
    /// What the kernel has, as far as it is known. Held while it is changed.
    written: tokio::sync::Mutex<Option<Contents>>,
    /// Whether it has been told that it can't be written.
    told: AtomicBool,
}

impl Sources {
    /// `node` tells nodes apart.
    pub(super) fn new(node: &str) -> Self {
        let table = Table { family: "bridge", name: format!("minik8s-pods-{node}") };
        let (owners, written, told) = Default::default();
        Self { table, owners, written, told }
    }

    /// From now on nobody else speaks by this link.
    pub(super) async fn add(&self, link: String, addresses: PodAddresses) {
        self.owners.lock().insert(link, addresses);
        let mut written = self.written.lock().await;
        self.tell(self.write(&mut written).await);
    }

    /// Of a link that goes.
    pub(super) fn forget(&self, link: &str) {
        self.owners.lock().remove(link);
    }

    /// Puts back what is missing, for these links and those that have been added.
    pub(super) async fn keep(&self, links: BTreeMap<String, PodAddresses>) {
        self.owners.lock().extend(links);
        let mut written = self.written.lock().await;
        *written = None;
        self.tell(self.write(&mut written).await);
    }

    /// Those who come together are served by the first.
    async fn write(&self, written: &mut Option<Contents>) -> Result<(), Error> {
        let wanted = contents(&self.owners.lock());
        if let Some(there) = written.take() {
            let changed = self.table.change(&Found::of(&there), &wanted).await;
            if changed.is_ok() {
                *written = Some(wanted);
                return Ok(());
            }
        }
        self.table.ensure(&wanted).await?;
        *written = Some(wanted);
        Ok(())
    }

    fn tell(&self, outcome: Result<(), Error>) {
        let failed = outcome.is_err();
        if let Err(error) = outcome
            && !self.told.load(Ordering::Relaxed)
        {
            let error = describe(&error);
            tracing::warn!(error, "pods may send packets in each other's names");
        }
        self.told.store(failed, Ordering::Relaxed);
    }

    /// What is missing of the rules for these links; there may be others.
    pub(super) async fn differences(
        &self,
        links: &BTreeMap<String, PodAddresses>,
    ) -> Vec<Difference> {
        let wanted = contents(links);
        let what = match self.table.read().await {
            Ok(Some(found)) if has(&found, &wanted) => return Vec::new(),
            Ok(_) => "is missing or not as it should be".to_owned(),
            Err(error) => format!("can't be read: {}", describe(&error)),
        };
        let Table { family, name } = &self.table;
        vec![Difference::new("rule", format!("table {family} {name} {what}"))]
    }
}

fn has(found: &Found, wanted: &Contents) -> bool {
    let elements = found.elements();
    found.has_rules_of(wanted) && wanted.elements.keys().all(|key| elements.contains_key(key))
}

fn contents(owners: &BTreeMap<String, PodAddresses>) -> Contents {
    let set = |name: &str, definition: &str| {
        let set = Set { kind: SetKind::Set, definition: definition.to_owned() };
        (name.to_owned(), set)
    };
    let chain = Chain { hook: Some(HOOK.to_owned()), rules: RULES.map(str::to_owned).into() };
    let of_link = |(link, addresses): (&String, &PodAddresses)| {
        let v4 = (OWNERS, format!("{link} . {}", addresses.v4));
        let v6 = addresses.v6.map(|v6| (OWNERS_V6, format!("{link} . {v6}")));
        [(LINKS, link.clone()), v4].into_iter().chain(v6)
    };
    let elements = owners.iter().flat_map(of_link);
    Contents {
        chains: [("sources".to_owned(), chain)].into(),
        sets: BTreeMap::from([
            set(LINKS, "type ifname"),
            set(OWNERS, "type ifname . ipv4_addr"),
            set(OWNERS_V6, "type ifname . ipv6_addr"),
        ]),
        elements: elements.map(|(set, key)| ((set.to_owned(), key), String::new())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_is_its_pod_s_alone() {
        let both = PodAddresses {
            v4: [10, 244, 1, 2].into(),
            v6: Some("fd00:10:244:1::2".parse().unwrap()),
        };
        let one = PodAddresses { v4: [10, 244, 1, 3].into(), v6: None };
        let owners = [("vetha", both), ("vethb", one)].map(|(link, of)| (link.to_owned(), of));
        let elements = contents(&owners.into()).elements;
        let elements: Vec<_> = elements.keys().map(|(set, key)| format!("{set}: {key}")).collect();
        let expected = [
            "links: vetha",
            "links: vethb",
            "owners: vetha . 10.244.1.2",
            "owners: vethb . 10.244.1.3",
            "owners-v6: vetha . fd00:10:244:1::2",
        ];
        assert_eq!(elements, expected);
    }
}
