//! What keeps the collector from doing its work.

use crate::frame;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// There may be dependents of a kind whose server is away.
    #[error("not all kinds are known: {} failing", .0.join(", "))]
    KindsUnknown(Vec<String>),
    /// Nothing can be written into the dependent.
    #[error("a dependent is changed by others all the time")]
    Contended,
}

impl frame::Fault for Fault {
    fn may_pass(&self) -> bool {
        true
    }
}
