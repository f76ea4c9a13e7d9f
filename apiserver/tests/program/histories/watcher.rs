//! Who looks on, and goes on from what was told last.

use futures::{AsyncBufReadExt, TryStreamExt};
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    clients::{MAPS, version},
    log::{Event, Kind},
};

#[derive(Debug)]
pub(super) struct Watcher {
    from: u64,
    events: Vec<Event>,
    /// How many they are.
    told: watch::Sender<usize>,
}

impl Watcher {
    pub(super) fn from(version: u64) -> Self {
        Self { from: version, events: Vec::new(), told: watch::Sender::new(0) }
    }

    pub(super) fn told(&self) -> watch::Receiver<usize> {
        self.told.subscribe()
    }

    fn last(&self) -> u64 {
        self.events.last().map_or(self.from, |event| event.version)
    }

    /// Looks on until it is stopped, or there is no server.
    pub(super) async fn follow(&mut self, client: &Client, mut stop: watch::Receiver<bool>) {
        let stopped = async move { stop.wait_for(|stop| *stop).await.map(drop) };
        tokio::select! {
            _ = stopped => {}
            () = self.see(client, u64::MAX) => {}
        }
    }

    /// Looks on until it has seen this version.
    pub(super) async fn until(&mut self, client: &Client, version: u64) {
        while self.last() < version {
            self.see(client, version).await;
        }
    }

    /// One watch, up to a version or its end.
    async fn see(&mut self, client: &Client, version: u64) {
        let query = format!("watch=true&resourceVersion={}", self.last());
        let request = http::Request::get(format!("{MAPS}?{query}")).body(Vec::new()).unwrap();
        let mut lines = match client.request_stream(request).await {
            Ok(stream) => stream.lines(),
            Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                panic!("{status:?}")
            }
            Err(_) => return,
        };
        while self.last() < version {
            let Ok(Some(line)) = lines.try_next().await else { return };
            self.events.push(event(&serde_json::from_str(&line).unwrap()));
            self.told.send_replace(self.events.len());
        }
    }

    /// What it was told before a version.
    pub(super) fn events_before(self, version: u64) -> Vec<Event> {
        self.events.into_iter().filter(|event| event.version < version).collect()
    }

    /// Whoever looked on for longer was told the same, as far as either got.
    pub(super) fn is_part_of(&self, longer: &Self) {
        let same: Vec<_> = longer.events.iter().filter(|event| event.version > self.from).collect();
        assert!(same.is_empty() || !self.events.is_empty(), "told nothing of {same:?}");
        same.into_iter().zip(&self.events).for_each(|(one, other)| assert_eq!(one, other));
    }
}

fn event(event: &Value) -> Event {
    let kind = match event["type"].as_str().unwrap() {
        "ADDED" => Kind::Added,
        "MODIFIED" => Kind::Modified,
        "DELETED" => Kind::Deleted,
        _ => panic!("{event}"),
    };
    let object = &event["object"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (meta, value) = (&object["metadata"], text(&object["data"]["value"]));
    let (key, uid) = (text(&meta["name"]), text(&meta["uid"]));
    Event { kind, key, version: version(object), uid, value }
}
