//! Where the containers of a pod are started.

/// A pod's sandbox, as far as it has come: the start of a container waits for what it needs of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Its id, once it is made.
    pub(super) id: Option<String>,
    /// The pod's address, once it is known.
    pub(super) pod_ip: Option<String>,
    /// Whether it runs and is connected.
    pub(super) connected: bool,
}

impl Place {
    /// One where containers can run.
    pub(super) fn new(id: String, pod_ip: String) -> Self {
        Self { id: Some(id), pod_ip: Some(pod_ip), connected: true }
    }
}
