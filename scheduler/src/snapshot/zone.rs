//! Where a node is, by its labels.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const REGION: &str = "topology.kubernetes.io/region";
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// A region and a zone in it. Cloning one allocates nothing.
pub(crate) type Zone = Arc<str>;

/// The zone that these labels name; there may be another of its name in another region.
pub(super) fn named(labels: &BTreeMap<String, String>) -> Option<Zone> {
    let zone = labels.get(ZONE)?;
    Some(format!("{}/{zone}", labels.get(REGION).map_or("", String::as_str)).into())
}
