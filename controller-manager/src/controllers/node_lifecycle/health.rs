//! Whether a node lives, by the signs of life seen so far. All times are the receiver's: a node with a
//! wrong clock is none the worse for it.
//!
//! A node renews its Lease every 10 s, and with Redis also sends a heartbeat every second. One that
//! sends heartbeats is missed after 8 s; one that does not, after Kubernetes' 40 s. When heartbeats stop
//! while the lease goes on, it is Redis that is lost and not the node: the 40 s hold then.

use std::time::Duration;

use tokio::time::Instant;

/// Without heartbeats a node may be silent for so long.
pub(super) const LEASE_PATIENCE: Duration = Duration::from_secs(40);
/// With heartbeats a node may be silent for so long.
pub(super) const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(8);
/// A lease renewed so much later than the last heartbeat shows that heartbeats do not arrive.
const UNHEARD: Duration = Duration::from_secs(3);

/// When signs of a node's life were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs {
    /// The last change of the lease or of the status by the node; at first, when the node was first seen.
    pub(super) renewed: Instant,
    /// The last heartbeat.
    pub(super) beat: Option<Instant>,
}

/// What a node's silence is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Lease,
    Heartbeat,
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It lives; without a further sign it is to be judged again then.
    Alive { until: Instant },
    /// It has been silent for too long.
    Silent(Measure),
}

/// Judges a node. `redis_since` is when Redis was last (re)connected; `None` if it is not.
pub(super) fn judge(signs: Signs, redis_since: Option<Instant>, now: Instant) -> Verdict {
    let (measure, until) = deadline(signs, redis_since);
    if now < until { Verdict::Alive { until } } else { Verdict::Silent(measure) }
}

fn deadline(signs: Signs, redis_since: Option<Instant>) -> (Measure, Instant) {
    let last = signs.beat.map_or(signs.renewed, |beat| beat.max(signs.renewed));
    match (signs.beat, redis_since) {
        (Some(beat), Some(since)) if signs.renewed <= beat + UNHEARD => {
            (Measure::Heartbeat, last.max(since) + HEARTBEAT_PATIENCE)
        }
        _ => (Measure::Lease, last + LEASE_PATIENCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in seconds since some beginning.
    fn check(renewed: u64, beat: Option<u64>, redis: Option<u64>, now: u64, expected: &str) {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let signs = Signs { renewed: at(renewed), beat: beat.map(at) };
        let got = match judge(signs, redis.map(at), at(now)) {
            Verdict::Alive { until } => format!("alive until {}", (until - start).as_secs()),
            Verdict::Silent(Measure::Lease) => "lease lost".to_owned(),
            Verdict::Silent(Measure::Heartbeat) => "heartbeat lost".to_owned(),
        };
        assert_eq!(got, expected, "{renewed} {beat:?} {redis:?} {now}");
    }

    #[test]
    fn without_redis_the_lease_counts() {
        check(100, None, None, 139, "alive until 140");
        check(100, None, None, 140, "lease lost");
    }

    #[test]
    fn with_redis_the_heartbeat_counts() {
        check(95, Some(100), Some(0), 107, "alive until 108");
        check(95, Some(100), Some(0), 108, "heartbeat lost");
    }

    #[test]
    fn a_node_that_never_sent_a_heartbeat_is_measured_by_its_lease() {
        check(100, None, Some(0), 120, "alive until 140");
    }

    #[test]
    fn a_lost_redis_condemns_nobody() {
        check(100, Some(100), None, 130, "alive until 140");
        // Redis is back: the nodes have eight seconds to be heard again.
        check(100, Some(100), Some(131), 132, "alive until 139");
    }

    #[test]
    fn a_lease_that_goes_on_without_heartbeats_shows_that_only_redis_is_lost() {
        check(105, Some(100), Some(0), 120, "alive until 145");
        check(101, Some(100), Some(0), 109, "heartbeat lost");
    }
}
