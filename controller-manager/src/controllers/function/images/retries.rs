//! When a build that failed is tried again.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::frame::ObjectKey;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// The builds that failed, one of a function: that of its latest version.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<HashMap<ObjectKey, Failure>>);

#[derive(Debug)]
struct Failure {
    digest: String,
    delay: Duration,
    due: Instant,
}

impl Retries {
    /// How long it is until this version may be built.
    pub(super) fn wait(&self, key: &ObjectKey, digest: &str) -> Option<Duration> {
        let failures = self.0.lock();
        let failure = failures.get(key).filter(|failure| failure.digest == digest)?;
        let left = failure.due.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// How long it is until this version is built again, which has just failed.
    pub(super) fn failed(&self, key: &ObjectKey, digest: &str) -> Duration {
        let mut failures = self.0.lock();
        let before = failures.get(key).filter(|failure| failure.digest == digest);
        let delay = before.map_or(FIRST, |failure| (failure.delay * 2).min(LONGEST));
        let (digest, due) = (digest.to_owned(), Instant::now() + delay);
        failures.insert(key.clone(), Failure { digest, delay, due });
        delay
    }

    /// The function is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_build_is_tried_again_ever_more_rarely_and_another_version_at_once() {
        let (retries, key) = (Retries::default(), ObjectKey::new("default", "add"));
        assert_eq!(retries.wait(&key, "a"), None);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let delay = retries.failed(&key, "a");
            assert_eq!(delay.as_secs(), seconds);
            assert_eq!(retries.wait(&key, "a"), Some(delay));
            assert_eq!(retries.wait(&key, "b"), None);
            tokio::time::advance(delay).await;
            assert_eq!(retries.wait(&key, "a"), None);
        }
        assert_eq!(retries.failed(&key, "b").as_secs(), 10);
    }
}
