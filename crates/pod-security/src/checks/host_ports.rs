//! The host's ports are its own.

use std::collections::BTreeSet;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::{Container, Pod},
    wording::{self, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: "hostPorts",
    replaces: None,
    revisions: &[Revision { since: 0, verdict: host_ports }],
};

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.containers_where(|container| ports_of(container).next().is_some());
    // In the order of texts, as Kubernetes has it.
    let ports: BTreeSet<String> =
        pod.containers.iter().flat_map(ports_of).map(|port| port.to_string()).collect();
    let nouns = pluralize("hostPort", "hostPorts", ports.len());
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPort",
        detail: format!(
            "{} {} {nouns} {}",
            wording::containers(&bad),
            pluralize("uses", "use", bad.len()),
            Vec::from_iter(ports).join(", ")
        ),
    })
}

fn ports_of(container: &Container<'_>) -> impl Iterator<Item = i32> {
    container.ports.iter().filter_map(|port| port.host_port).filter(|port| *port != 0)
}
