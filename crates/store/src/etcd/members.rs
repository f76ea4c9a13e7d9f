//! Several members of etcd: one that is away, or has no leader, is no reason to fail while another may answer. What changes
//! nothing is asked again, and what does is sent again where the member can't have got it: as etcd's own client does.

use std::{error::Error as _, future::Future, time::Duration};

use etcd_client::Error;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, ConnectError, Status};

use super::convert::failure;
use crate::{Revision, StoreError};

/// The longest that a request may take, of several tries for little all together. etcd itself gives up after 7 s.
const PATIENCE: Duration = Duration::from_millis(7500);
/// For how long requests are sent again: longer than an election.
const ELECTION: Duration = Duration::from_secs(4);
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// Who is asked for little, and says nothing for so long, is away.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Members {
    are_several: bool,
}

/// What a request may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It tells little.
    Look,
    /// It tells much, which may take long.
    List,
    /// It changes something.
    Write,
}

impl Members {
    pub(super) fn of(endpoints: &[String]) -> Self {
        Self { are_several: endpoints.len() > 1 }
    }

    /// The answer to a question for little.
    pub(super) async fn look<T, F>(&self, request: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask(Effect::Look, Revision(0), request).await
    }

    /// The answer to a question for much, as of a revision.
    pub(super) async fn list<T, F>(
        &self,
        asked: Revision,
        request: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask(Effect::List, asked, request).await
    }

    /// What came of a change, which is made once at most.
    pub(super) async fn write<T, F>(&self, request: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask(Effect::Write, Revision(0), request).await
    }

    async fn ask<T, F>(
        &self,
        effect: Effect,
        asked: Revision,
        request: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        loop {
            let patience = self.patience(effect, began.elapsed());
            let failed = match timeout(patience, request()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            let may_go_on = self.are_several && began.elapsed() < ELECTION;
            if !may_go_on || !effect.may_be_tried_again(failed.as_ref()) {
                let silent = || silent(began.elapsed());
                return Err(failed.map_or_else(silent, |error| failure(&error, asked)));
            }
            sleep(PAUSE).await;
        }
    }

    /// How long a try may take that begins so long after the first one. The last has all the time that is left: all members may be
    /// slow, and none away.
    fn patience(&self, effect: Effect, passed: Duration) -> Duration {
        let is_last = !self.are_several || passed + SILENCE >= ELECTION;
        match effect {
            Effect::Look if is_last => PATIENCE.saturating_sub(passed),
            Effect::Look => SILENCE,
            Effect::List | Effect::Write => PATIENCE,
        }
    }
}

impl Effect {
    /// Whether to try again does nothing twice, and another member may know better than this one, which said nothing if
    /// there is no error.
    fn may_be_tried_again(self, error: Option<&Error>) -> bool {
        let changes_nothing = self != Self::Write;
        match error {
            None | Some(Error::TransportError(_)) => changes_nothing,
            // What has a source comes from the way there, not from a member.
            Some(Error::GRpcStatus(status)) if changes_nothing => {
                status.code() == Code::Unavailable || status.source().is_some()
            }
            Some(Error::GRpcStatus(status)) => is_unsent(status),
            Some(_) => false,
        }
    }
}

/// Whether there was no connection by which it could have been sent.
fn is_unsent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn silent(patience: Duration) -> StoreError {
    let seconds = patience.as_secs_f32();
    StoreError::Unavailable(format!("etcd gave no answer within {seconds:.1} s"))
}

/// The result of a request that is made once.
pub(super) async fn once<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, StoreError> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| failure(&error, Revision(0))),
        Err(_) => Err(silent(PATIENCE)),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io};

    use super::*;

    fn unsent() -> Error {
        Error::GRpcStatus(Status::from_error(Box::new(ConnectError("refused".into()))))
    }

    fn broken() -> Error {
        Error::GRpcStatus(Status::from_error(Box::new(io::Error::other("broken pipe"))))
    }

    fn told(code: Code) -> Error {
        Error::GRpcStatus(Status::new(code, "etcdserver: it can't"))
    }

    #[test]
    fn only_what_does_nothing_twice_is_tried_again() {
        let check = |error: Option<Error>, look: bool, write: bool| {
            let may = |effect: Effect| effect.may_be_tried_again(error.as_ref());
            assert_eq!((may(Effect::Look), may(Effect::Write)), (look, write), "{error:?}");
            assert_eq!(may(Effect::List), look, "{error:?}");
        };
        check(None, true, false);
        check(Some(unsent()), true, true);
        check(Some(broken()), true, false);
        check(Some(told(Code::Unavailable)), true, false);
        check(Some(told(Code::OutOfRange)), false, false);
    }

    /// How often it was asked that fails so often, and whether it had an answer in the end.
    async fn tries(members: usize, failures: u32, error: fn() -> Error) -> (u32, bool) {
        let count = Cell::new(0);
        let request = || {
            count.set(count.get() + 1);
            let failed = count.get() <= failures;
            async move { if failed { Err(error()) } else { Ok(()) } }
        };
        let answer = Members { are_several: members > 1 }.look(request).await;
        (count.get(), answer.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn another_member_is_asked_where_there_is_one() {
        assert_eq!(tries(3, 2, unsent).await, (3, true));
        assert_eq!(tries(1, 2, unsent).await, (1, false));
        assert_eq!(tries(3, 2, || told(Code::OutOfRange)).await, (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_where_no_member_answers() {
        let began = Instant::now();
        let (tries, answered) = tries(3, u32::MAX, broken).await;
        assert!(!answered && tries > 10, "{tries}");
        assert!(began.elapsed() < ELECTION + SILENCE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_says_nothing_is_not_waited_for_as_long_as_there_are_others() {
        let count = Cell::new(0);
        let request = || {
            count.set(count.get() + 1);
            let is_silent = count.get() == 1;
            async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        };
        let began = Instant::now();
        Members { are_several: true }.look(request).await.unwrap();
        assert!(began.elapsed() < 2 * SILENCE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn members_that_are_all_slow_are_waited_for_as_long_as_one_that_is_alone() {
        let took = async |members: usize, each: Duration| {
            let began = Instant::now();
            let request = || async move {
                sleep(each).await;
                Ok(())
            };
            let answer = Members { are_several: members > 1 }.look(request).await;
            (answer.is_ok(), began.elapsed())
        };
        let slow = Duration::from_secs(5);
        for members in [1, 3] {
            let (answered, passed) = took(members, slow).await;
            assert!(answered && passed < PATIENCE, "{passed:?}");
            let (answered, passed) = took(members, 2 * PATIENCE).await;
            assert!(!answered && passed >= PATIENCE && passed < PATIENCE + PAUSE, "{passed:?}");
        }
    }
}
