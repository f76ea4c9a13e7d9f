//! What has just failed is not tried again at once: waiting for it would hold up everybody else.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const REMEMBERED: Duration = Duration::from_secs(10);

/// What failed, until when, and why.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<String, (Instant, String)>>);

impl Failures {
    pub(super) fn remember(&self, now: Instant, what: &str, why: &str) {
        let mut failures = self.0.lock();
        failures.retain(|_, (until, _)| now < *until);
        failures.insert(what.to_owned(), (now + REMEMBERED, why.to_owned()));
    }

    /// Why it is not to be tried now.
    pub(super) fn of(&self, now: Instant, what: &str) -> Option<String> {
        let failures = self.0.lock();
        let (_, why) = failures.get(what).filter(|(until, _)| now < *until)?;
        Some(why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_remembered_for_ten_seconds() {
        let (failures, now) = (Failures::default(), Instant::now());
        failures.remember(now, "a", "too slow");
        assert_eq!(failures.of(now + Duration::from_secs(9), "a"), Some("too slow".to_owned()));
        assert_eq!(failures.of(now + Duration::from_secs(9), "b"), None);
        assert_eq!(failures.of(now + Duration::from_secs(10), "a"), None);
    }
}
