//! For how long nothing has been asked on a connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use tokio::time::{Instant, sleep};

use crate::{ending::Told, respond::Response};

/// The requests of a connection that are under way, each until all of its answer is sent.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay(Arc<Requests>);

#[derive(Debug)]
struct Requests {
    count: AtomicUsize,
    connected: Instant,
    /// When the last one ended, in milliseconds since it connected.
    ended: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Held(Arc<Requests>);

impl UnderWay {
    /// Of a connection that just came.
    pub(crate) fn new() -> Self {
        let (count, ended) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Requests { count, connected: Instant::now(), ended }))
    }

    pub(crate) fn begin(&self) -> Held {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Held(self.0.clone())
    }

    /// Ends once nothing has been asked for so long from now on. It looks when that may be so: a request costs it nothing.
    pub(crate) async fn ceased_for(&self, time: Duration) {
        let now = Instant::now();
        loop {
            let idle = self.0.ended().max(now).elapsed();
            match self.0.count.load(Ordering::Relaxed) {
                0 if idle >= time => return,
                0 => sleep(time - idle).await,
                _ => sleep(time).await,
            }
        }
    }
}

impl Requests {
    fn ended(&self) -> Instant {
        self.connected + Duration::from_millis(self.ended.load(Ordering::Relaxed))
    }
}

impl Held {
    /// The answer, with which it ends.
    pub(crate) fn until_sent(self, answer: Response) -> Response {
        answer.map(|body| Body::new(Told::new(body, move || drop(self))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let millis = self.0.connected.elapsed().as_millis();
        self.0.ended.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use hyper::body::Body as _;

    use super::*;

    const TIME: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_begins_anew_with_each_request_and_not_before_its_answer_is_sent() {
        let (under_way, began) = (UnderWay::new(), Instant::now());
        let asking = async {
            sleep(TIME - SECOND).await;
            drop(under_way.begin());
            sleep(TIME - SECOND).await;
            let answer = under_way.begin().until_sent(Response::new(Body::from("all")));
            sleep(3 * TIME).await;
            drop(answer);
        };
        tokio::join!(under_way.ceased_for(TIME), asking);
        let asked = 5 * TIME - 2 * SECOND;
        let took = began.elapsed();
        // It looks again only after as long.
        assert!((asked + TIME..=asked + 2 * TIME).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_counted_from_now_on() {
        let (under_way, began) = (UnderWay::new(), Instant::now());
        under_way.ceased_for(TIME).await;
        under_way.ceased_for(SECOND).await;
        assert_eq!(began.elapsed().as_secs(), (TIME + SECOND).as_secs());
    }

    #[test]
    fn an_answer_is_as_long_as_it_was() {
        let held = UnderWay::new().begin();
        let answer = held.until_sent(Response::new(Body::from("all"))).into_body();
        assert_eq!((answer.size_hint().exact(), answer.is_end_stream()), (Some(3), false));
        let read = axum::body::to_bytes(answer, 10).now_or_never().unwrap();
        assert_eq!(read.unwrap(), "all");
    }
}
