//! A status that is not written.

use std::{ops::ControlFlow, time::Duration};

/// How soon is tried again what the API server did not take.
pub(super) const REPORTING: Duration = Duration::from_secs(2);

/// Why the status is not written.
pub(super) enum Unwritten {
    /// Another one was, which is the server's now.
    Other,
    /// The job is gone.
    Gone,
    /// The API server has not taken it.
    Failed,
}

impl Unwritten {
    /// How long nothing is to be done, if anything is.
    pub(super) fn then(self) -> ControlFlow<(), Duration> {
        match self {
            Self::Other => ControlFlow::Continue(Duration::ZERO),
            Self::Gone => ControlFlow::Break(()),
            Self::Failed => ControlFlow::Continue(REPORTING),
        }
    }
}
