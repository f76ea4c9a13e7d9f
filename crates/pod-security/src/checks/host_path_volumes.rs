//! The host's files are its own.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
    wording::{join_quote, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: ID,
    replaces: None,
    revisions: &[Revision { since: 0, verdict: host_path_volumes }],
};

pub(super) const ID: &str = "hostPathVolumes";

fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let bad: Vec<&str> = pod
        .spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.host_path.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    let noun = pluralize("volume", "volumes", bad.len());
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: format!("{noun} {}", join_quote(bad)),
    })
}
