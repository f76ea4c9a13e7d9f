//! Waiting for a condition, with a deadline, and with what was seen last in the message of its failure.

use std::{fmt::Debug, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::watcher::{self, watch_object},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

/// How long to wait before a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How often [`until`] looks.
const PERIOD: Duration = Duration::from_millis(20);

/// Waits until `probe` gives `Ok`. `Err` says what it has seen instead.
///
/// # Panics
/// After [`DEADLINE`], with `what` was waited for and what was seen last.
pub async fn until<T, E: Debug>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + DEADLINE;
    let mut seen = None;
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(now)) if Instant::now() < deadline => seen = Some(now),
            Ok(Err(now)) => panic!("waited in vain until {what}; last seen: {now:?}"),
            Err(_) => panic!("waited in vain until {what}; last seen: {seen:?}"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The result of something that must end.
///
/// # Panics
/// After [`DEADLINE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(DEADLINE, future).await;
    ended.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

/// Waits until an object (`None` if it does not exist) fulfils a condition, by watching it.
///
/// # Panics
/// After [`DEADLINE`], with the object as last seen.
pub async fn until_object<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    condition: impl Fn(Option<&K>) -> bool,
) -> Option<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let deadline = Instant::now() + DEADLINE;
    let mut states = std::pin::pin!(watch_object(api.clone(), name));
    let mut seen: Option<watcher::Result<Option<K>>> = None;
    loop {
        match timeout_at(deadline, states.next()).await {
            Ok(Some(Ok(object))) if condition(object.as_ref()) => return object,
            Ok(Some(state)) => seen = Some(state),
            Ok(None) | Err(_) => {
                panic!("waited in vain until {name} {what}; last seen: {seen:#?}")
            }
        }
    }
}

/// Waits until an object exists and fulfils a condition, by watching it.
///
/// # Panics
/// As [`until_object`].
pub async fn until_is<K>(api: &Api<K>, name: &str, what: &str, condition: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let condition = |object: Option<&K>| object.is_some_and(&condition);
    until_object(api, name, what, condition).await.expect("the condition holds only for an object")
}

/// Waits until an object does not exist.
///
/// # Panics
/// As [`until_object`].
pub async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    until_object(api, name, "is gone", |object| object.is_none()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_is_returned() {
        let mut count = 0;
        let waited = until("three", async || {
            count += 1;
            if count == 3 { Ok(count) } else { Err(count) }
        });
        assert_eq!(waited.await, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited in vain until it rains; last seen: \"sun\"")]
    async fn what_does_not_come_fails_with_what_was_seen() {
        until("it rains", async || Err::<(), _>("sun")).await;
    }
}
