//! A rate: one at a time, and the next when the time for it has passed.

use std::time::Duration;

use tokio::time::Instant;

/// Asked again after this when the rate is zero: it may be another one then.
const NEVER: Duration = Duration::from_secs(1);

/// Takes one token at most at a time, as Kubernetes' limiter of evictions.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// Full.
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: 1.0, filled: now }
    }

    /// Takes a token; or says when to try again. `rate` is how many there are in a second from now on.
    pub(super) fn take(&mut self, rate: f64, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * rate;
        (self.tokens, self.filled) = ((self.tokens + gained).min(1.0), now);
        if rate <= 0.0 {
            return Err(NEVER);
        }
        // What is lost in the division of times must not cost a whole turn.
        if self.tokens < 1.0 - 1e-6 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / rate).min(NEVER));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_at_once_and_the_next_in_their_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = TokenBucket::new(start);
        assert_eq!(bucket.take(0.1, at(0)), Ok(()));
        assert_eq!(bucket.take(0.1, at(0)), Err(NEVER));
        assert!(bucket.take(0.1, at(9_500)).is_err());
        assert_eq!(bucket.take(0.1, at(10_000)), Ok(()));
        assert_eq!(bucket.take(0.1, at(60_000)), Ok(()));
        assert!(bucket.take(0.1, at(60_001)).is_err(), "tokens are not saved up");
    }

    #[test]
    fn while_the_rate_is_zero_there_are_none() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        assert_eq!(bucket.take(0.0, start + Duration::from_secs(100)), Err(NEVER));
    }
}
