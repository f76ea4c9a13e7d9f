//! From the API server to the [`SharedDirectory`].

use std::fmt::Debug;

use component::Check;
use futures::{Stream, StreamExt, future};
use kube::runtime::watcher::{self, Event};
use listwatch::{ListWatch, Scope};
use tracing::warn;

use crate::directory::{Directory, SharedDirectory};

/// Keeps the directory up to date for as long as it is polled. `check` is ready from the first complete
/// lists on: through an outage of the API server, what is known is served.
pub async fn watch(listwatch: &ListWatch, directory: &SharedDirectory, check: &Check) {
    let functions = listwatch.watch(Scope::All);
    let pods = listwatch.watch(Scope::All);
    future::join(
        follow(functions, directory, check, Directory::function),
        follow(pods, directory, check, Directory::pod),
    )
    .await;
}

async fn follow<K: Debug>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    directory: &SharedDirectory,
    check: &Check,
    take: impl Fn(&mut Directory, Event<K>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => note(directory, check, |directory| take(directory, event)),
            Err(error) => warn!(%error, "watching"),
        }
    }
}

fn note(directory: &SharedDirectory, check: &Check, change: impl FnOnce(&mut Directory)) {
    let complete = directory.change(|directory| {
        change(directory);
        directory.is_complete()
    });
    if complete {
        check.ready();
    }
}
