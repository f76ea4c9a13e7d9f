//! How long the store takes, by what is asked of it and for which kind.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::metrics::{family::Family, histogram::Histogram};
use store::{Entry, Event, Events, Expect, Guard, Page, Query, Revision, Store, StoreError};
use tokio::time::Instant;

/// Kubernetes' (`k8s.io/apiserver/pkg/storage/etcd3/metrics`).
const SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// `operation` and `type`.
type Labels = [(&'static str, String); 2];

/// Of requests to the store.
#[derive(Clone, Debug)]
pub(crate) struct Durations(Family<Labels, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(SECONDS)))
    }
}

impl Durations {
    /// As they are registered.
    pub(crate) fn family(&self) -> Family<Labels, Histogram, fn() -> Histogram> {
        self.0.clone()
    }

    fn observe(&self, operation: &str, key: &str, took: Duration) {
        let labels = [("operation", operation.to_owned()), ("type", resource(key))];
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// Of a key `/registry/<group>/<plural>/…`: `pods`, `deployments.apps`; nothing of what is none of a kind.
fn resource(key: &str) -> String {
    let mut parts = key.strip_prefix("/registry/").unwrap_or_default().split('/');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        (_, "") => String::new(),
        // Below it are the addresses of servers.
        ("masterleases", _) => "endpoints".to_owned(),
        ("core", plural) => plural.to_owned(),
        (group, plural) => format!("{plural}.{group}"),
    }
}

/// A store of which each request is measured.
#[derive(Debug)]
pub(crate) struct Measured {
    store: Arc<dyn Store>,
    durations: Durations,
}

impl Measured {
    pub(crate) fn new(store: Arc<dyn Store>, durations: Durations) -> Self {
        Self { store, durations }
    }

    async fn timed<T>(&self, operation: &str, key: &str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.durations.observe(operation, key, begun.elapsed());
        done
    }
}

#[async_trait]
impl Store for Measured {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.timed("get", key, self.store.get(key)).await
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        self.timed("list", prefix, self.store.list(prefix, query)).await
    }

    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        let operation = if expect == Some(Expect::Absent) { "create" } else { "update" };
        self.timed(operation, key, self.store.put_guarded(key, value, expect, guards)).await
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        self.timed("delete", key, self.store.delete(key, expect)).await
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        self.store.watch(after).await
    }

    async fn remembers(&self, change: &Event) -> Result<bool, StoreError> {
        self.store.remembers(change).await
    }

    async fn is_stale(&self, key: &str) -> Result<bool, StoreError> {
        self.timed("get", key, self.store.is_stale(key)).await
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.store.compact(before).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::resource;

    #[test]
    fn a_key_says_the_kind() {
        let check = |key: &str, expected: &str| assert_eq!(resource(key), expected, "{key}");
        check("/registry/core/pods/default/web", "pods");
        check("/registry/apps/deployments/", "deployments.apps");
        check("/registry/masterleases/10.0.0.1", "endpoints");
        check("\0", "");
    }
}
