//! Waiting for things that must happen, and failing when they don't.

use std::{fmt::Debug, future::Future, time::Duration};

use futures::{Stream, StreamExt};
use tokio::time::{interval, timeout};

const LONGEST: Duration = Duration::from_secs(30);

/// The result of something that must end.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LONGEST, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    within(what, asking).await
}

/// The next item of a stream.
pub(crate) async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    within("an item", stream.next()).await.expect("stream has not ended")
}

/// The next items of a stream, which must not be errors.
pub(crate) async fn take<T, E: Debug>(
    stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    count: usize,
) -> Vec<T> {
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(next(stream).await.unwrap());
    }
    items
}
