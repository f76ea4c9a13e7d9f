//! How long a Job waits before it makes a pod in place of one that has failed: 10 s, doubling with each failure since the
//! last success, 10 minutes at most. It is known in memory alone; whoever takes over begins anew.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;

use super::job_pod::ended_at;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// The failures since the last success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BackOff {
    failures: u32,
    last: Option<Timestamp>,
}

impl BackOff {
    /// With pods that have ended since.
    pub(super) fn after(&self, succeeded: &[Arc<Pod>], failed: &[Arc<Pod>]) -> Self {
        let success = succeeded.iter().map(|pod| ended_at(pod)).max();
        let ends = failed.iter().map(|pod| ended_at(pod));
        let since: Vec<_> = ends.filter(|end| success.is_none_or(|at| *end > at)).collect();
        let before = if success.is_some() { Self::default() } else { self.clone() };
        let count = u32::try_from(since.len()).unwrap_or(u32::MAX);
        Self {
            failures: before.failures.saturating_add(count),
            last: since.into_iter().max().or(before.last),
        }
    }

    /// For how long to wait.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        self.last.map_or(Duration::ZERO, |last| left(self.failures, last, now))
    }
}

/// For how long to wait after so many failures in a row, the last of them at that time.
pub(super) fn left(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let factor = 2_u32.saturating_pow(failures - 1);
    let whole = FIRST.saturating_mul(factor).min(LONGEST);
    let gone = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    whole.saturating_sub(gone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: u64) -> Timestamp {
        format!("2026-01-01T00:00:{second:02}Z").parse().unwrap()
    }

    fn ended(seconds: &[u64]) -> Vec<Arc<Pod>> {
        let pods = seconds.iter().map(|second| {
            let state = json!({"terminated": {"exitCode": 0, "finishedAt": at(*second).to_string()}});
            let status = json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [status]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        });
        pods.collect()
    }

    #[test]
    fn it_doubles_with_each_failure_up_to_ten_minutes() {
        let left = |failures| left(failures, at(0), at(4)).as_secs();
        let all: Vec<_> = [0, 1, 2, 3, 6, 7, 8, 40].into_iter().map(left).collect();
        assert_eq!(all, [0, 6, 16, 36, 316, 596, 596, 596]);
    }

    #[test]
    fn failures_count_since_the_last_success() {
        let none = BackOff::default();
        assert_eq!(none.left(at(0)), Duration::ZERO);
        let two = none.after(&[], &ended(&[1, 2]));
        assert_eq!(two.left(at(2)), Duration::from_secs(20));
        assert_eq!(two.after(&[], &ended(&[3])).left(at(3)), Duration::from_secs(40));
        assert_eq!(two.after(&ended(&[5]), &ended(&[4])), none);
        assert_eq!(two.after(&ended(&[5]), &ended(&[4, 6])).left(at(6)), FIRST);
        assert_eq!(two.after(&[], &[]), two);
    }
}
