//! Many requests, so many at once, with the time of each.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use hdrhistogram::Histogram;

/// The longest time that is told apart from longer ones: ten minutes, in microseconds.
const MOST: u64 = 600_000_000;

/// How long requests took, and all of them together.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Of each request, in microseconds.
    pub(crate) each: Histogram<u64>,
    pub(crate) all: Duration,
}

impl Measured {
    pub(crate) fn new(times: impl IntoIterator<Item = Duration>, all: Duration) -> Self {
        let mut each = Histogram::new_with_bounds(1, MOST, 3).expect("valid bounds and precision");
        for time in times {
            each.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
        Self { each, all }
    }

    /// Of what was done one after another.
    pub(crate) fn in_turn(times: &[Duration]) -> Self {
        Self::new(times.iter().copied(), times.iter().sum())
    }

    /// All of several, which were done one after another.
    pub(crate) fn together(several: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::new([], Duration::ZERO);
        for one in several {
            all.each.add(&one.each).expect("the same bounds");
            all.all += one.all;
        }
        all
    }

    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.each.len() as f64 / self.all.as_secs_f64()
    }
}

/// How long something took.
pub(crate) async fn timed(
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    work.await.map(|()| begin.elapsed())
}

/// Has the clients make `count` requests together, each one at a time.
pub(crate) async fn measure<C>(
    count: usize,
    clients: &mut [C],
    request: impl AsyncFn(&mut C, usize) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let (begin, indexes) = (Instant::now(), RefCell::new(0..count));
    let next = || indexes.borrow_mut().next();
    let work = async |client: &mut C| {
        let mut times = Vec::new();
        while let Some(index) = next() {
            times.push(timed(request(client, index)).await?);
        }
        anyhow::Ok(times)
    };
    let times = try_join_all(clients.iter_mut().map(work)).await?;
    Ok(Measured::new(times.into_iter().flatten(), begin.elapsed()))
}
