//! How long a pod that has failed stays before it is made anew: ever longer on a node where that happens again and again, as
//! where the kubelet refuses it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::frame::ObjectKey;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// When pods of sets have last been made anew on nodes.
#[derive(Debug, Default)]
pub(super) struct Backoff(HashMap<Key, Renewal>);

/// A set, its generation, since a changed template may do better, and a node.
type Key = (ObjectKey, i64, String);

#[derive(Clone, Copy, Debug)]
struct Renewal {
    at: Instant,
    /// For how long the next one stays.
    wait: Duration,
}

impl Renewal {
    fn is_forgotten(&self, now: Instant) -> bool {
        now - self.at > LONGEST * 2
    }
}

impl Backoff {
    /// How long the pod that has failed there still stays.
    pub(super) fn left(
        &self,
        set: &ObjectKey,
        generation: i64,
        node: &str,
        now: Instant,
    ) -> Option<Duration> {
        let last = self.0.get(&(set.clone(), generation, node.to_owned()))?;
        let left = last.wait.checked_sub(now - last.at)?;
        Some(left).filter(|left| !left.is_zero())
    }

    /// It is made anew.
    pub(super) fn renew(&mut self, set: &ObjectKey, generation: i64, node: &str, now: Instant) {
        self.0.retain(|_, renewal| !renewal.is_forgotten(now));
        let key = (set.clone(), generation, node.to_owned());
        let last = self.0.get(&key);
        let wait = last.map_or(FIRST, |last| (last.wait * 2).min(LONGEST));
        self.0.insert(key, Renewal { at: now, wait });
    }

    /// Forgets a set that is gone.
    pub(super) fn forget(&mut self, set: &ObjectKey) {
        self.0.retain(|(of, ..), _| of != set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_fails_again_and_again_stays_ever_longer() {
        let (set, mut backoff, start) =
            (ObjectKey::new("ns", "logs"), Backoff::default(), Instant::now());
        let left = |backoff: &Backoff, generation, node: &str, now| {
            backoff.left(&set, generation, node, now).map(|left| left.as_secs_f32())
        };
        assert_eq!(left(&backoff, 1, "a", start), None, "it has never failed");
        let mut now = start;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            backoff.renew(&set, 1, "a", now);
            let wait = Duration::from_secs(wait);
            assert_eq!(backoff.left(&set, 1, "a", now), Some(wait));
            now += wait;
            assert_eq!(left(&backoff, 1, "a", now), None);
        }
        assert_eq!(left(&backoff, 1, "b", now - FIRST), None, "of another node");
        assert_eq!(left(&backoff, 2, "a", now - FIRST), None, "of another template");
        now += LONGEST * 2;
        backoff.renew(&set, 1, "a", now);
        assert_eq!(left(&backoff, 1, "a", now), Some(1.0), "long ago is forgotten");
        backoff.forget(&set);
        assert_eq!(left(&backoff, 1, "a", now), None);
    }
}
