//! What the store, its writer and its watches have in common.

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{handle::Handle, queue::Queue};
use crate::Revision;

/// What to keep, and what to take on trust.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much history is kept, in bytes of keys and values; what is older is compacted away by and by.
    pub keep_bytes: u64,
    /// Whether to read and verify the whole file at the start, even if it was closed in order.
    pub verify: bool,
    /// Whether a write is on the disk before it is acknowledged. Where all is thrown away in the end, a test's, there is no
    /// need to wait for the disk; a kill of the process loses nothing then either.
    pub outlives_power_cuts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep_bytes: 1 << 30, verify: false, outlives_power_cuts: true }
    }
}

/// See the module.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) handle: Handle,
    pub(super) queue: Queue,
    /// The latest revision that is durable.
    pub(super) committed: watch::Sender<Revision>,
    /// When the file was last written.
    pub(super) written: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn revision(&self) -> Revision {
        *self.committed.borrow()
    }
}
