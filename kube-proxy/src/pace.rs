//! When the next pass is due.

use std::time::Duration;

use tokio::time;

use crate::wake::Wake;

/// A pass without cause, as the net under Docker's events and changes of the kernel's routes.
const RESYNC: Duration = Duration::from_secs(10);
/// Changes that come together are worked off together.
const GATHER: Duration = Duration::from_millis(100);
/// The wait after a pass that failed, doubled each time up to [`RESYNC`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How a pass went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is as it should be.
    Well,
    /// Something takes a moment.
    Pending,
    /// Something went wrong.
    Failed,
    /// Something went wrong, and something else takes a moment: it must not wait as long as what failed.
    Both,
}

/// The waits between passes.
#[derive(Debug)]
pub(crate) struct Pace {
    retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { retry: FIRST_RETRY }
    }
}

impl Pace {
    /// Waits after a pass for a change, or until it is time anyway.
    pub(crate) async fn wait(&mut self, outcome: Outcome, wake: &Wake) {
        wake.wait(self.at_most(outcome)).await;
        time::sleep(GATHER).await;
    }

    fn at_most(&mut self, outcome: Outcome) -> Duration {
        let retry = self.retry;
        self.retry = match outcome {
            Outcome::Failed | Outcome::Both => (retry * 2).min(RESYNC),
            Outcome::Well | Outcome::Pending => FIRST_RETRY,
        };
        match outcome {
            Outcome::Well => RESYNC,
            Outcome::Pending => Duration::ZERO,
            Outcome::Failed => retry,
            Outcome::Both => FIRST_RETRY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_retried_ever_more_slowly_until_all_is_well() {
        let mut pace = Pace::default();
        let mut wait = |outcome| pace.at_most(outcome).as_secs();
        assert_eq!([0; 6].map(|_| wait(Outcome::Failed)), [1, 2, 4, 8, 10, 10]);
        assert_eq!(wait(Outcome::Well), 10);
        assert_eq!(wait(Outcome::Failed), 1);
        assert_eq!(wait(Outcome::Pending), 0);
        assert_eq!([0; 3].map(|_| wait(Outcome::Failed)), [1, 2, 4]);
        assert_eq!([wait(Outcome::Both), wait(Outcome::Failed)], [1, 10]);
    }
}
