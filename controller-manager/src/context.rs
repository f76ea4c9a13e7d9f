//! What a controller is built from.

use component::events::Recorder;
use kube::Client;
use listwatch::ListWatch;

use crate::informers::Informers;
use crate::network::Network;

/// Shared by all controllers.
#[derive(Clone, Debug)]
pub struct Context {
    /// Speaks to the API server.
    pub listwatch: ListWatch,
    /// What the API server has.
    pub informers: Informers,
    /// Where pod addresses come from.
    pub pod_network: Network,
}

impl Context {
    /// The client of the API server.
    pub fn client(&self) -> Client {
        self.listwatch.client().clone()
    }

    /// Writes events in the name of a controller.
    pub fn recorder(&self, controller: &str) -> Recorder {
        Recorder::new(self.client(), controller, "")
    }
}
