//! What a controller is built from.

use std::sync::Arc;

use component::Tasks;
use component::events::Recorder;
use kube::Client;
use listwatch::ListWatch;

use crate::clock::Clock;
use crate::discovery::Discovery;
use crate::informers::Informers;
use crate::settings::Settings;

/// Shared by all controllers.
#[derive(Clone, Debug)]
pub struct Context {
    /// Speaks to the API server.
    pub listwatch: ListWatch,
    /// What the API server has.
    pub informers: Informers,
    /// What the controllers are told.
    pub settings: Settings,
    /// What time it is.
    pub clock: Clock,
    /// Which resources the API server has.
    pub(crate) discovery: Arc<Discovery>,
    tasks: Tasks,
}

impl Context {
    /// Nothing is followed yet. What writes events is among the `tasks`.
    pub fn new(listwatch: ListWatch, settings: Settings, tasks: Tasks) -> Self {
        let discovery = Arc::new(Discovery::new(listwatch.client().clone()));
        Self {
            listwatch,
            informers: Informers::default(),
            settings,
            clock: Clock::default(),
            discovery,
            tasks,
        }
    }

    /// The client of the API server.
    pub fn client(&self) -> Client {
        self.listwatch.client().clone()
    }

    /// Writes events in the name of a controller.
    pub fn recorder(&self, controller: &str) -> Recorder {
        Recorder::new(&self.tasks, self.client(), controller, "")
    }
}
