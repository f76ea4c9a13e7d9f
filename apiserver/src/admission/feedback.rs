//! What admission has to tell the sender of a request beside the answer, and whether the sender still listens.

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    warnings: Mutex<Vec<String>>,
    gone: CancellationToken,
}

impl Feedback {
    /// Tells the sender something, once: a write that meets another one is admitted again.
    pub(crate) fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// All that is to be told.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }

    /// Cancelled when nobody waits for the answer any more.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }
}
