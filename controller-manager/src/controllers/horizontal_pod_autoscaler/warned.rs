//! What has been warned of a moment ago: an event is not written anew at every look.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const SILENCE: Duration = Duration::from_secs(60);

/// An autoscaler's uid, a reason and a message.
pub(super) type Warning = (Option<String>, String, String);

/// When what was told.
#[derive(Debug, Default)]
pub(super) struct Warned(Mutex<HashMap<Warning, Instant>>);

impl Warned {
    /// Whether it is to be told now.
    pub(super) fn is_due(&self, now: Instant, warning: Warning) -> bool {
        let mut told = self.0.lock();
        told.retain(|_, at| now - *at < SILENCE);
        let is_due = !told.contains_key(&warning);
        told.entry(warning).or_insert(now);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_a_minute() {
        let (warned, begun) = (Warned::default(), Instant::now());
        let is_due = |second, uid: &str, message: &str| {
            let warning = (Some(uid.to_owned()), "Failed".to_owned(), message.to_owned());
            warned.is_due(begun + Duration::from_secs(second), warning)
        };
        assert!(is_due(0, "a", "x"));
        assert!(is_due(0, "b", "x") && is_due(0, "a", "y"));
        assert!(!is_due(59, "a", "x"));
        assert!(is_due(60, "a", "x"));
        assert!(!is_due(61, "a", "x"));
    }
}
