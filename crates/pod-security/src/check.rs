//! What a check is: it may be another from a version on.

use crate::{Violation, pod::Pod};

/// A check, by Kubernetes' ID.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    /// The check of the baseline that it is the stricter form of.
    pub(crate) replaces: Option<&'static str>,
    /// The oldest first.
    pub(crate) revisions: &'static [Revision],
}

/// A check as it is from a minor version on.
pub(crate) struct Revision {
    pub(crate) since: u64,
    pub(crate) verdict: fn(&Pod<'_>) -> Option<Violation>,
}

impl Check {
    /// What it is at a minor version; nothing yet before its first.
    pub(crate) fn revision(&self, minor: u64) -> Option<&'static Revision> {
        self.revisions.iter().rfind(|revision| revision.since <= minor)
    }
}
