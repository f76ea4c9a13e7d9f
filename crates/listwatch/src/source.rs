//! The API server's end of a listener: pages of a list, and the HTTP watch.

use std::{fmt::Debug, time::Duration};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Client, Resource,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ObjectList, Request},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

/// Objects per page, as client-go has it.
const PAGE: u32 = 500;
/// After what time the server ends a watch.
const WATCH_SECONDS: u32 = 290;
/// How much later a watch that has not ended is taken for dead.
const GRACE: Duration = Duration::from_secs(5);

/// Which objects of a kind to listen to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of them.
    All,
    /// Those of a namespace.
    Namespace(String),
    /// Pods that are bound to a node.
    PodsOfNode(String),
}

/// The events of an HTTP watch; it ends when it is time to open another.
pub(crate) type Events<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

/// Where and what to list and watch.
pub(crate) struct Source {
    client: Client,
    list_path: String,
    watch_path: String,
    fields: Option<String>,
    namespace: Option<String>,
}

impl Source {
    /// Beside a topic, a watch covers the same changes as the topic, so that versions of the two can be
    /// compared: then a namespace is filtered here.
    pub(crate) fn new<K: Resource>(
        kind: &K::DynamicType,
        client: Client,
        scope: Scope,
        beside_topic: bool,
    ) -> Self {
        let path = |namespace| K::url_path(kind, namespace);
        let (namespace, fields) = match scope {
            Scope::All => (None, None),
            Scope::Namespace(namespace) => (Some(namespace), None),
            Scope::PodsOfNode(node) => (None, Some(format!("spec.nodeName={node}"))),
        };
        let list_path = path(namespace.as_deref());
        let watch_path = if beside_topic { path(None) } else { list_path.clone() };
        Self { client, list_path, watch_path, fields, namespace }
    }

    /// Whether an object of the topic is in scope.
    pub(crate) fn covers(&self, namespace: Option<&str>) -> bool {
        self.namespace.is_none() || self.namespace.as_deref() == namespace
    }

    /// A page of the list, or all of it.
    pub(crate) async fn page<K>(
        &self,
        token: Option<&str>,
        paged: bool,
    ) -> kube::Result<ObjectList<K>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let params = ListParams {
            field_selector: self.fields.clone(),
            limit: paged.then_some(PAGE),
            continue_token: token.map(str::to_owned),
            ..ListParams::default()
        };
        let request = Request::new(&self.list_path).list(&params);
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// The changes after a version.
    pub(crate) async fn watch<K>(&self, after: u64) -> kube::Result<Events<K>>
    where
        K: Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let params = WatchParams {
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = Request::new(&self.watch_path).watch(&params, &after.to_string());
        let request = request.map_err(kube::Error::BuildRequest)?;
        let deadline = Instant::now() + Duration::from_secs(WATCH_SECONDS.into()) + GRACE;
        let events = self.client.request_events::<K>(request).await?.boxed();
        Ok(stream::unfold(events, move |mut events| async move {
            let event = timeout_at(deadline, events.next()).await.ok().flatten();
            event.map(|event| (event, events))
        })
        .boxed())
    }
}
