//! What waits for the writer.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Expect, Guard, Revision, StoreError};

/// A request to the writer.
pub(super) enum Op {
    Put {
        key: String,
        value: Bytes,
        expect: Option<Expect>,
        guards: Vec<Guard>,
    },
    Delete {
        key: String,
        expect: Option<Revision>,
    },
    /// Gives the revision that was reached.
    Compact {
        before: Revision,
    },
    /// Changes nothing, durably: whether the file can be written.
    Touch,
}

pub(super) type Answer = Result<Revision, StoreError>;

/// With whom it is to be answered.
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The requests that wait for a transaction.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
    /// Somebody is writing, and will come back for what waits.
    busy: bool,
}

impl Queue {
    /// Adds a request; `true` if there is no writer to take it, and the caller has to start one.
    pub(super) fn push(&self, request: Request) -> bool {
        let mut waiting = self.0.lock();
        waiting.requests.push(request);
        !std::mem::replace(&mut waiting.busy, true)
    }

    /// All that waits; `None` ends the writer's turn.
    pub(super) fn take(&self) -> Option<Vec<Request>> {
        let mut waiting = self.0.lock();
        waiting.busy = !waiting.requests.is_empty();
        waiting.busy.then(|| std::mem::take(&mut waiting.requests))
    }

    /// Lets go of all that waits, whose senders get no answer.
    pub(super) fn abandon(&self) {
        *self.0.lock() = Waiting::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request { op: Op::Compact { before: Revision(1) }, answer: oneshot::channel().0 }
    }

    #[test]
    fn requests_that_come_during_a_transaction_share_the_next_one() {
        let queue = Queue::default();
        assert!(queue.push(request()), "the first starts the writer");
        assert_eq!(queue.take().map(|batch| batch.len()), Some(1));
        assert!(!queue.push(request()), "the writer is at work");
        assert!(!queue.push(request()));
        assert_eq!(queue.take().map(|batch| batch.len()), Some(2));
        assert!(queue.take().is_none(), "its turn ends");
        assert!(queue.push(request()), "the next starts it again");
    }

    #[test]
    fn an_abandoned_queue_starts_a_new_writer() {
        let queue = Queue::default();
        queue.push(request());
        queue.abandon();
        assert!(queue.push(request()));
    }
}
