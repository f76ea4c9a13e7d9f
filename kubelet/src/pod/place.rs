//! Where the containers of a pod are started.

use crate::addresses::Ips;

/// A pod's sandbox, as far as it has come: the start of a container waits for what it needs of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Its id, once it is made.
    pub(super) id: Option<String>,
    /// The pod's addresses, once they are known.
    pub(super) ips: Option<Ips>,
    /// Whether it runs and is connected.
    pub(super) connected: bool,
}

impl Place {
    /// One where containers can run.
    pub(super) fn new(id: String, ips: Ips) -> Self {
        Self { id: Some(id), ips: Some(ips), connected: true }
    }
}
