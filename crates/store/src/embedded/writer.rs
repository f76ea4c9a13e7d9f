//! Writing, with group commit: requests that come in while a transaction is being synced to the disk
//! share the next one.
//!
//! There is one writer at a time, and none while there is nothing to write. It runs where blocking is
//! allowed, as a task of the runtime, so that a test's paused clock stands still while it works.

use std::sync::Arc;

use redb::Database;
use tokio::{sync::oneshot, time::Instant};

use super::{
    queue::{Answer, Op, Request},
    shared::Shared,
    tables::Tables,
};
use crate::{Revision, StoreError};

/// Has a request done, together with others that come at the same time. It is durable when this returns.
pub(super) async fn submit(shared: &Arc<Shared>, op: Op) -> Answer {
    let stopped = |_| StoreError::Unavailable("the writer has stopped".into());
    start(shared, op).await.map_err(stopped)?
}

/// The same without waiting for the answer.
pub(super) fn start(shared: &Arc<Shared>, op: Op) -> oneshot::Receiver<Answer> {
    let (answer, answered) = oneshot::channel();
    if shared.queue.push(Request { op, answer }) {
        let shared = Arc::clone(shared);
        tokio::task::spawn_blocking(move || write(Turn(shared)));
    }
    answered
}

/// A writer's turn. If it ends in a panic, the requests are abandoned instead of waiting for ever.
struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.abandon();
        }
    }
}

/// Transactions, until nothing waits. The file is let go before the last answers, so that who has them
/// all can close the store.
fn write(turn: Turn) {
    let mut batch = turn.0.queue.take();
    while let Some(requests) = batch {
        let answers = commit(&turn.0, &requests);
        batch = turn.0.queue.take();
        if batch.is_none() {
            drop(turn);
            return answer(requests, answers);
        }
        answer(requests, answers);
    }
}

fn answer(requests: Vec<Request>, answers: Vec<Answer>) {
    for (request, answer) in requests.into_iter().zip(answers) {
        // Who does not wait any more needs no answer.
        let _ = request.answer.send(answer);
    }
}

/// One transaction for all the requests, or one error for all of them. The watchers are told before the
/// writers.
fn commit(shared: &Shared, requests: &[Request]) -> Vec<Answer> {
    let keep = shared.options.keep_bytes;
    let ops = || requests.iter().map(|request| &request.op);
    let done = shared.handle.write(shared.revision(), |database| transact(database, keep, ops()));
    match done {
        Ok(Done { answers, committed }) => {
            if let Some(revision) = committed {
                *shared.written.lock() = Some(Instant::now());
                shared.committed.send_replace(revision);
            }
            answers
        }
        Err(error) => {
            *shared.written.lock() = None;
            requests.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

/// What became of a transaction.
struct Done {
    answers: Vec<Answer>,
    /// The revision it reached, if there was anything to commit.
    committed: Option<Revision>,
}

/// *Flow*: apply each request in turn, compact what has become too much, commit with fsync. A request that
/// is refused (a conflict) leaves the others alone.
fn transact<'a>(
    database: &Database,
    keep_bytes: u64,
    ops: impl Iterator<Item = &'a Op>,
) -> Result<Done, redb::Error> {
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    let answers = ops.map(|op| apply(&mut tables, op)).collect::<Result<Vec<_>, _>>()?;
    tables.trim(keep_bytes)?;
    let revision = tables.revision();
    if !tables.close()? {
        transaction.abort()?;
        return Ok(Done { answers, committed: None });
    }
    transaction.commit()?;
    Ok(Done { answers, committed: Some(revision) })
}

/// The outer error fails the whole transaction, the inner one this request.
fn apply(tables: &mut Tables<'_>, op: &Op) -> Result<Answer, redb::Error> {
    match op {
        Op::Put { key, value, expect, guards } => tables.put(key, value, *expect, guards),
        Op::Delete { key, expect } => tables.delete(key, *expect),
        Op::Compact { before } => tables.compact(*before),
        Op::Touch => tables.touch(),
    }
}
