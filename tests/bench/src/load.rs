//! Many requests, so many at once, with the time of each.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
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

    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.each.len() as f64 / self.all.as_secs_f64()
    }
}

/// Makes `count` requests, at most `concurrency` of them under way at once.
pub(crate) async fn measure(
    count: usize,
    concurrency: usize,
    request: impl AsyncFn(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let begin = Instant::now();
    let timed = |i| {
        let request = &request;
        async move {
            let begin = Instant::now();
            request(i).await.map(|()| begin.elapsed())
        }
    };
    let times: Vec<_> =
        stream::iter(0..count).map(timed).buffer_unordered(concurrency).try_collect().await?;
    Ok(Measured::new(times, begin.elapsed()))
}
