//! A question that many ask at the same time and that is costly to answer: one answer for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The last answer, and how many were begun.
#[derive(Debug)]
pub(crate) struct SharedAnswer<T> {
    begun: AtomicU64,
    last: Mutex<Option<Answer<T>>>,
}

#[derive(Debug)]
struct Answer<T> {
    number: u64,
    begun: Instant,
    value: Arc<T>,
}

impl<T> Default for SharedAnswer<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::default(), last: Mutex::default() }
    }
}

impl<T> SharedAnswer<T> {
    /// An answer that was begun after this call, so that it knows everything that the caller knows.
    /// `work` finds it out, unless somebody else does so in time.
    ///
    /// # Errors
    ///
    /// Those of `work`; they are not shared.
    pub(crate) async fn fresh<E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let asked = self.begun.load(Ordering::SeqCst);
        self.answer(|last| last.number > asked, work).await
    }

    /// An answer not older than this.
    ///
    /// # Errors
    ///
    /// Those of `work`; they are not shared.
    pub(crate) async fn recent<E>(
        &self,
        age: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        self.answer(|last| last.begun.elapsed() <= age, work).await
    }

    /// The last answer, however old.
    pub(crate) async fn last(&self) -> Option<Arc<T>> {
        self.last.lock().await.as_ref().map(|last| last.value.clone())
    }

    async fn answer<E>(
        &self,
        will_do: impl FnOnce(&Answer<T>) -> bool,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| will_do(last)) {
            return Ok(last.value.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let begun = Instant::now();
        let value = Arc::new(work.await?);
        *last = Some(Answer { number, begun, value: value.clone() });
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    /// Answers with the number of the question, after a second.
    async fn work(count: &AtomicU64) -> Result<u64, Infallible> {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        sleep(Duration::from_secs(1)).await;
        Ok(number)
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_an_answer_is_worked_out_shares_the_next_one() {
        let (shared, count) = (SharedAnswer::default(), AtomicU64::default());
        let later = async {
            sleep(Duration::from_millis(500)).await;
            join_all((0..20).map(|_| shared.fresh(work(&count)))).await
        };
        let (first, rest) = tokio::join!(shared.fresh(work(&count)), later);
        assert_eq!(*first.unwrap(), 1);
        assert!(rest.into_iter().all(|answer| *answer.unwrap() == 2));
        assert_eq!(*shared.fresh(work(&count)).await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_recent_answer_will_do_for_a_while() {
        let (shared, count) = (SharedAnswer::default(), AtomicU64::default());
        let recent = async || *shared.recent(Duration::from_secs(30), work(&count)).await.unwrap();
        assert_eq!((recent().await, recent().await), (1, 1));
        sleep(Duration::from_secs(31)).await;
        assert_eq!(recent().await, 2);
    }
}
