//! How long a command that takes a while bears with a server that is away or has too much to do.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use crate::{Failure, Io};

/// For so long nothing may come.
const LIMIT: Duration = Duration::from_secs(120);
/// Before the first further try; then twice as long each time.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
/// A connection on which nothing comes for so long leads nowhere any more.
const SILENCE: Duration = Duration::from_secs(60);

/// What is left of it.
pub(crate) struct Patience<'a> {
    io: &'a Io,
    failing_since: Option<Instant>,
    pause: Duration,
    /// How much has come, by the byte.
    at: u64,
}

impl<'a> Patience<'a> {
    /// All of it. Whoever waits is told by `io` why.
    pub(crate) fn new(io: &'a Io) -> Self {
        Self { io, failing_since: None, pause: FIRST, at: 0 }
    }

    /// Something came.
    pub(crate) fn renew(&mut self) {
        (self.failing_since, self.pause) = (None, FIRST);
    }

    /// More came than ever before: what comes again and again leads nowhere.
    pub(crate) fn reached(&mut self, at: u64) {
        if at > self.at {
            self.at = at;
            self.renew();
        }
    }

    /// Waits before a further try, or gives the failure back if that may not help.
    pub(crate) async fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let is_first = self.failing_since.is_none();
        let Some(pause) = self.next(&failure, Instant::now()) else { return Err(failure) };
        if is_first {
            self.io.note(format_args!("{failure}; trying again for {} s", LIMIT.as_secs()));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long to wait.
    fn next(&mut self, failure: &Failure, now: Instant) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        let left = LIMIT.saturating_sub(now - since);
        if !failure.may_pass() || left.is_zero() {
            return None;
        }
        // What the server asks for is waited for, as long as that is borne at all.
        let pause = self.pause.max(failure.retry_after().unwrap_or_default().min(left));
        self.pause = (self.pause * 2).min(LONGEST);
        Some(pause)
    }
}

/// What comes by then: the other end of a connection may be gone without a word.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    within(SILENCE, answer).await
}

/// The same of what takes so long by itself.
pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let silent = || Failure::Unreachable(format!("nothing came for {} s", limit.as_secs()));
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(silent()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::ServerError;

    fn answer(code: u16, details: &serde_json::Value) -> Failure {
        let status = json!({"message": "m", "details": details});
        Failure::Server(ServerError::from_answer(code, status.to_string().as_bytes()))
    }

    fn io() -> Io {
        Io::new(std::io::empty(), std::io::sink(), std::io::sink())
    }

    #[test]
    fn pauses_grow_until_enough_is_enough_or_something_comes() {
        let (io, start) = (io(), Instant::now());
        let (mut patience, busy) = (Patience::new(&io), answer(503, &json!({})));
        let mut at = |seconds| patience.next(&busy, start + Duration::from_secs(seconds));
        let pauses: Vec<_> = (0..8).map(|_| at(0).unwrap().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!((at(119), at(120)), (Some(LONGEST), None));
        patience.reached(7);
        assert_eq!(patience.next(&busy, start + LIMIT), Some(FIRST));
        patience.reached(7);
        assert_eq!(patience.next(&busy, start + LIMIT * 2), None, "no more than before");
        patience.renew();
        let later = answer(429, &json!({"retryAfterSeconds": 3}));
        assert_eq!(patience.next(&later, start + LIMIT * 2), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_server_says_how_long_to_wait_within_the_limit() {
        let (io, start) = (io(), Instant::now());
        let mut patience = Patience::new(&io);
        let busy = answer(429, &json!({"retryAfterSeconds": 60}));
        let mut at = |seconds| patience.next(&busy, start + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(Duration::from_secs(60)));
        assert_eq!(at(90), Some(Duration::from_secs(30)), "what is left");
        assert_eq!(at(120), None);
    }

    #[test]
    fn only_what_may_pass_is_borne() {
        let check = |failure: &Failure, expected: bool| {
            let io = io();
            let is_borne = Patience::new(&io).next(failure, Instant::now()).is_some();
            assert_eq!(is_borne, expected, "{failure}");
        };
        for code in [429, 500, 502, 503, 504] {
            check(&answer(code, &json!({})), true);
        }
        for code in [301, 400, 401, 403, 404, 409, 422, 501] {
            check(&answer(code, &json!({})), false);
        }
        check(&Failure::Unreachable("broken".to_owned()), true);
        check(&Failure::Refused { server: "s".to_owned() }, true);
        check(&Failure::message("m"), false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_leads_nowhere_is_given_up() {
        let (io, mut tries) = (io(), 0);
        let mut patience = Patience::new(&io);
        let failure = loop {
            tries += 1;
            let failure = in_time(std::future::pending::<Result<(), _>>()).await.unwrap_err();
            if let Err(failure) = patience.bear(failure).await {
                break failure;
            }
        };
        assert_eq!(failure.to_string(), "Unable to connect to the server: nothing came for 60 s");
        assert_eq!(tries, 3);
    }
}
