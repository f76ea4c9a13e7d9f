//! Tasks beside a program's own flow that it cannot do without: when one panics, the program ends in order, as at a
//! signal, and as a failure. It would else go on and lack something, which nobody would see.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use tokio::sync::SetOnce;

/// Starts such tasks, and watches over them. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    panicked: Arc<SetOnce<Panicked>>,
}

/// A task has panicked. Of what, was said when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing} has failed")]
pub struct Panicked {
    doing: &'static str,
}

impl Tasks {
    /// Starts a task, within a tokio runtime; `doing` says what it does. It may come to its end at any time.
    pub fn spawn(&self, doing: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let panicked = self.panicked.clone();
        tokio::spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                // The first one is told of.
                let _ = panicked.set(Panicked { doing });
            }
        });
    }

    /// Returns when one has panicked.
    pub async fn panicked(&self) -> Panicked {
        *self.panicked.wait().await
    }
}
