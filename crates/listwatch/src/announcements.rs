//! What is told over Redis, for who lists and watches nothing: the API server.

use component::{RedisServer, Tasks};
use futures::Stream;

use crate::{Error, Heartbeat, PodsUsage, bus::Bus, login::open, topics};

/// A connection to Redis to listen on. Clones share it.
#[derive(Clone, Debug)]
pub struct Announcements(Bus);

impl Announcements {
    /// Connects in the background, now and whenever the connection is lost; must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the URL is wrong.
    pub fn connect(redis: &RedisServer, tasks: &Tasks) -> Result<Self, Error> {
        Ok(Self(Bus::start(open(redis)?, tasks)))
    }

    /// The heartbeats of all nodes.
    pub fn heartbeats(&self) -> impl Stream<Item = Heartbeat> + Send + 'static + use<> {
        self.0.clone().messages(topics::NODE_STATUS.to_owned())
    }

    /// What pods use, node by node.
    pub fn pods_usage(&self) -> impl Stream<Item = PodsUsage> + Send + 'static + use<> {
        self.0.clone().messages(topics::POD_STATUS.to_owned())
    }
}
