//! The store's latest revision, asked for many at a time.
//!
//! Every linearizable list asks for it. Those that ask while a request is under way share the next one:
//! that one begins after they asked, so its answer is not too old for any of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Mutex;

use crate::{Revision, Store, StoreError};

#[derive(Debug)]
pub(super) struct Latest {
    store: Arc<dyn Store>,
    /// The number of the latest asker.
    asked: AtomicU64,
    /// The latest answer, and the last asker that had asked before its request began.
    answer: Mutex<(u64, Result<Revision, StoreError>)>,
}

impl Latest {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let answer = Mutex::new((0, Ok(Revision(0))));
        Self { store, asked: AtomicU64::new(0), answer }
    }

    /// A revision not older than any write acknowledged before the call.
    pub(super) async fn get(&self) -> Result<Revision, StoreError> {
        let me = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answer = self.answer.lock().await;
        if answer.0 < me {
            let answered = self.asked.load(Ordering::SeqCst);
            *answer = (answered, self.store.revision().await);
        }
        answer.1.clone()
    }
}
