//! Who is asked when. Readers that come while a kubelet is asked, or soon after, have what came of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::MutexGuard,
    time::{Instant, timeout},
};

/// How long a reader waits for a kubelet.
pub(super) const BUDGET: Duration = Duration::from_secs(3);
/// For how long an answer is everybody's.
const SHARED: Duration = Duration::from_secs(1);
/// Who did not answer is let alone for so many times as long as that took: half a minute after the whole budget.
const PAUSES: u32 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Until when each node is not to be asked again. Who finds it locked waits for the answer.
    of_nodes: Mutex<HashMap<String, Arc<Turn>>>,
}

type Turn = tokio::sync::Mutex<Option<Instant>>;

impl Turns {
    /// Asks, if it is time to.
    pub(super) async fn ask<T>(
        &self,
        node: &str,
        ask: impl Future<Output = anyhow::Result<T>>,
        heard: impl FnOnce(T),
    ) -> anyhow::Result<()> {
        let turn = self.of_nodes.lock().entry(node.to_owned()).or_default().clone();
        let turn = turn.lock().await;
        if turn.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let mut taken = Taken { turn, began: Instant::now(), is_answered: false };
        heard(timeout(BUDGET, ask).await??);
        taken.is_answered = true;
        Ok(())
    }

    /// Forgets whom it is time to ask.
    pub(super) fn forget(&self, forgotten: impl FnOnce(&dyn Fn(&str) -> bool)) {
        let counts = |turn: &Arc<Turn>| {
            let until = turn.try_lock();
            until.map_or(true, |until| until.is_some_and(|until| Instant::now() < until))
        };
        let mut all = self.of_nodes.lock();
        all.retain(|_, turn| Arc::strong_count(turn) > 1 || counts(turn));
        forgotten(&|node| all.contains_key(node));
    }
}

/// A kubelet that is being asked. The reader may go away at any time, and what its wait has told is not lost.
struct Taken<'a> {
    turn: MutexGuard<'a, Option<Instant>>,
    began: Instant,
    is_answered: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let pause = if self.is_answered { SHARED } else { self.began.elapsed() * PAUSES };
        *self.turn = Some(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use super::*;

    /// How often a node was asked by readers that wait no longer than the budget.
    struct Readers {
        turns: Turns,
        asked: Cell<u32>,
    }

    impl Readers {
        fn new() -> Self {
            Self { turns: Turns::default(), asked: Cell::default() }
        }

        async fn read(&self, answer: impl Future<Output = anyhow::Result<()>>) {
            let ask = async {
                self.asked.set(self.asked.get() + 1);
                answer.await
            };
            let _ = timeout(BUDGET, self.turns.ask("n1", ask, drop)).await;
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_reader_waits_once_for_who_does_not_answer() {
        let (readers, began) = (Readers::new(), Instant::now());
        tokio::join!(readers.read(pending()), readers.read(pending()), readers.read(pending()));
        readers.read(pending()).await;
        pass(25).await;
        readers.read(pending()).await;
        assert_eq!((readers.asked.get(), began.elapsed().as_secs()), (1, 28));
        pass(6).await;
        readers.read(async { Ok(()) }).await;
        assert_eq!(readers.asked.get(), 2);
        pass(2).await;
        readers.read(async { Ok(()) }).await;
        assert_eq!(readers.asked.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_goes_away_and_a_kubelet_that_is_down_for_a_moment_keep_nobody_from_asking()
     {
        let readers = Readers::new();
        tokio::select! {
            biased;
            () = readers.read(pending()) => {}
            () = async {} => {}
        }
        readers.read(async { anyhow::bail!("refused") }).await;
        readers.read(async { Ok(()) }).await;
        assert_eq!(readers.asked.get(), 3);
        readers.read(async { Ok(()) }).await;
        assert_eq!(readers.asked.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn but_those_are_kept_of_whom_something_is_known() {
        let readers = Readers::new();
        readers.read(pending()).await;
        readers.turns.forget(|is_known| assert!(is_known("n1") && !is_known("n2")));
        pass(31).await;
        readers.turns.forget(|is_known| assert!(!is_known("n1")));
    }
}
