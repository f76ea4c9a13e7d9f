//! The times by which replicas take turns.

use std::time::Duration;

/// How long a lease that does not change is respected.
pub const LEASE_DURATION: Duration = Duration::from_secs(4);
/// How long a leader leads on after the last renewal that succeeded was sent.
pub const RENEW_DEADLINE: Duration = Duration::from_millis(2500);
/// How often a leader renews.
pub const RENEW_PERIOD: Duration = Duration::from_secs(1);
/// How often to look whether the lease is free, and to try again after a failure.
pub const RETRY_PERIOD: Duration = Duration::from_millis(500);
