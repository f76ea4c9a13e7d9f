//! The builds that are under way: a task each, a few at a time. Nobody waits for them, so that a function that is
//! deleted or changed meanwhile is looked at, and its build ended.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::build::{Built, Failed};
use crate::frame::{ObjectKey, WorkQueue};

type Outcome = Result<Built, Failed>;

/// One of a function. They end with this.
#[derive(Debug)]
pub(super) struct Builds {
    turns: Arc<Semaphore>,
    queue: Arc<WorkQueue>,
    under_way: Mutex<HashMap<ObjectKey, UnderWay>>,
}

#[derive(Debug)]
struct UnderWay {
    /// Of which version.
    digest: String,
    outcome: oneshot::Receiver<Outcome>,
    _task: AbortOnDropHandle<()>,
}

impl Builds {
    /// So many at a time; a function whose build has ended is put into the queue.
    pub(super) fn new(at_a_time: u16, queue: Arc<WorkQueue>) -> Self {
        let turns = Arc::new(Semaphore::new(at_a_time.into()));
        Self { turns, queue, under_way: Mutex::default() }
    }

    /// What has come of the build of a version, which is begun if it is not under way, and told once. A build of
    /// another version of the function ends.
    pub(super) fn outcome<B>(
        &self,
        key: &ObjectKey,
        digest: &str,
        begin: impl FnOnce() -> B,
    ) -> Option<Outcome>
    where
        B: Future<Output = Outcome> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        match under_way.get_mut(key).filter(|build| build.digest == digest) {
            None => {
                let build = self.begin(key, digest, begin());
                under_way.insert(key.clone(), build);
                None
            }
            Some(build) => {
                let ended = match build.outcome.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => return None,
                    Err(oneshot::error::TryRecvError::Closed) => Err(Failed::lost()),
                    Ok(outcome) => outcome,
                };
                under_way.remove(key);
                Some(ended)
            }
        }
    }

    /// The function needs no image any more.
    pub(super) fn end(&self, key: &ObjectKey) {
        self.under_way.lock().remove(key);
    }

    fn begin(
        &self,
        key: &ObjectKey,
        digest: &str,
        build: impl Future<Output = Outcome> + Send + 'static,
    ) -> UnderWay {
        let (sender, outcome) = oneshot::channel();
        let (turns, done) = (self.turns.clone(), Done(self.queue.clone(), key.clone()));
        let task = tokio::spawn(async move {
            let _done = done;
            let _turn = turns.acquire().await;
            // Nobody is told of a build that nobody wants any more.
            let _ = sender.send(build.await);
        });
        UnderWay { digest: digest.to_owned(), outcome, _task: AbortOnDropHandle::new(task) }
    }
}

/// Has the function looked at when its build has ended, in whatever way.
struct Done(Arc<WorkQueue>, ObjectKey);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.add(self.1.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn built(image: &str) -> Outcome {
        Ok(Built { image: image.to_owned() })
    }

    fn image(outcome: Option<Outcome>) -> Option<String> {
        outcome.map(|outcome| outcome.unwrap().image)
    }

    #[tokio::test]
    async fn a_build_is_told_once_and_its_function_looked_at() {
        let queue = Arc::new(WorkQueue::default());
        let builds = Builds::new(1, queue.clone());
        let key = ObjectKey::new("default", "add");
        assert!(builds.outcome(&key, "a", async || built("one")).is_none());
        assert_eq!(queue.next().await, key);
        let again = || -> std::future::Pending<Outcome> { panic!("it is under way") };
        assert_eq!(image(builds.outcome(&key, "a", again)).as_deref(), Some("one"));
        assert!(builds.outcome(&key, "a", async || built("two")).is_none());
    }

    #[tokio::test]
    async fn a_build_that_panics_has_failed() {
        let queue = Arc::new(WorkQueue::default());
        let builds = Builds::new(1, queue.clone());
        let key = ObjectKey::new("default", "add");
        assert!(builds.outcome(&key, "a", async || panic!("as the test wants it")).is_none());
        queue.next().await;
        assert!(builds.outcome(&key, "a", pending).is_some_and(|outcome| outcome.is_err()));
    }

    #[tokio::test]
    async fn few_are_under_way_at_a_time_and_those_that_nobody_wants_end() {
        let queue = Arc::new(WorkQueue::default());
        let builds = Builds::new(1, queue.clone());
        let [first, second] = ["a", "b"].map(|name| ObjectKey::new("default", name));
        let (held, mut is_held) = tokio::sync::mpsc::channel::<()>(1);
        let endless = async move {
            held.send(()).await.unwrap();
            pending::<Outcome>().await
        };
        assert!(builds.outcome(&first, "1", || endless).is_none());
        is_held.recv().await.unwrap();
        assert!(builds.outcome(&second, "1", async || built("second")).is_none());
        tokio::task::yield_now().await;
        let waits = builds.outcome(&second, "1", pending);
        assert!(waits.is_none(), "it has no turn yet");

        // Another version of the first.
        assert!(builds.outcome(&first, "2", async || built("first")).is_none());
        assert_eq!(is_held.recv().await, None, "the build has ended");
        let told = loop {
            queue.done(&queue.next().await);
            if let Some(outcome) = builds.outcome(&second, "1", pending) {
                break outcome;
            }
        };
        assert_eq!(told.unwrap().image, "second");
    }
}
