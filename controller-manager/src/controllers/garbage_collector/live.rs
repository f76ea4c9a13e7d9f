//! Objects as the API server has them now.

use std::collections::HashMap;
use std::sync::Arc;

use api_types::meta::ObjectMeta;
use futures::future::try_join_all;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, Error as KubeError};
use parking_lot::Mutex;

use super::fault::Fault;
use super::graph::Uid;
use crate::discovery::{Discovered, Discovery};
use crate::frame::{Error, Step};
use crate::shared_answer::SharedAnswer;

/// Objects per page of a list.
const PAGE: u32 = 500;

/// The object of this name and uid; `None` if the API server says that there is none. A path that is not
/// served says nothing about objects: that is an error.
pub(super) async fn read(
    api: &Api<PartialObjectMeta<DynamicObject>>,
    name: &str,
    uid: &str,
) -> Result<Option<ObjectMeta>, Error> {
    match api.get(name).await {
        Err(error) if is_absent(&error, name) => Ok(None),
        read => {
            let metadata = read.step("reading an object")?.metadata;
            Ok(Some(metadata).filter(|metadata| metadata.uid.as_deref() == Some(uid)))
        }
    }
}

fn is_absent(error: &KubeError, name: &str) -> bool {
    let KubeError::Api(status) = error else { return false };
    status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name)
}

/// An object that has owners.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) found: Discovered,
    pub(super) metadata: ObjectMeta,
}

/// All that have owners, by the owners' uids.
type ByOwner = HashMap<Uid, Vec<Arc<Owned>>>;

/// Looks for dependents in the API server itself: a watch may lag behind, and what is done to an owner
/// can't be taken back. All who look through a namespace at the same time share what is found.
pub(super) struct Dependents {
    client: Client,
    discovery: Arc<Discovery>,
    looking: Mutex<HashMap<String, Arc<SharedAnswer<ByOwner>>>>,
}

impl Dependents {
    pub(super) fn new(client: Client, discovery: Arc<Discovery>) -> Self {
        Self { client, discovery, looking: Mutex::default() }
    }

    /// The dependents of an owner, which are in its namespace; anywhere, if it is in none.
    ///
    /// # Errors
    ///
    /// Some kind could not be listed, or discovery does not know all kinds.
    pub(super) async fn of(&self, owner: &str, namespace: &str) -> Result<Vec<Arc<Owned>>, Error> {
        let shared = self.looking.lock().entry(namespace.to_owned()).or_default().clone();
        let found = shared.fresh(self.look_through(namespace)).await;
        // What was found is of no use to who asks later.
        let mut looking = self.looking.lock();
        if Arc::strong_count(&shared) == 2 {
            looking.remove(namespace);
        }
        Ok(found?.get(owner).cloned().unwrap_or_default())
    }

    async fn look_through(&self, namespace: &str) -> Result<ByOwner, Error> {
        let resources = self.discovery.fresh().await.step("discovering resources")?;
        if !resources.failing.is_empty() {
            return Err(Fault::KindsUnknown(resources.failing.clone()).into());
        }
        let concerned = |found: &&Discovered| {
            found.is_collectable() && (found.is_namespaced() || namespace.is_empty())
        };
        let lists = resources.all.iter().filter(concerned).map(|found| self.list(found, namespace));
        let mut by_owner = ByOwner::new();
        for owned in try_join_all(lists).await?.into_iter().flatten() {
            for reference in owned.metadata.owner_references.iter().flatten() {
                by_owner.entry(reference.uid.clone()).or_default().push(owned.clone());
            }
        }
        Ok(by_owner)
    }

    /// The objects of a kind that have owners.
    async fn list(&self, found: &Discovered, namespace: &str) -> Result<Vec<Arc<Owned>>, Error> {
        let api = found.api(self.client.clone(), namespace);
        let mut owned = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = api.list(&page).await.step("looking for dependents")?;
            let all = list.items.into_iter().map(|object| object.metadata);
            let with_owners = all.filter(|object| object.owner_references.is_some());
            owned.extend(
                with_owners.map(|metadata| Arc::new(Owned { found: found.clone(), metadata })),
            );
            page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.continue_token.is_none() {
                return Ok(owned);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// What a server answers that has ConfigMaps in two pages, and a group that is away or not.
    fn answer(uri: &str, freshness: &str) -> Value {
        let map = |name: &str, continues: &str| {
            let owner =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "owner"});
            let metadata = json!({"name": name, "uid": name, "ownerReferences": [owner]});
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {"continue": continues}, "items": [{"metadata": metadata}]})
        };
        let groups = |items: Value| json!({"apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "items": items});
        let maps = json!({"resource": "configmaps", "scope": "Namespaced", "verbs": ["list", "watch", "delete"],
            "responseKind": {"group": "", "version": "v1", "kind": "ConfigMap"}});
        match uri {
            "/api" => groups(json!([{"metadata": {}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [maps]}]}])),
            "/apis" => groups(json!([{"metadata": {"name": "x.io"}, "versions": [
                {"version": "v1", "freshness": freshness, "resources": []}]}])),
            page if page.contains("continue=next") => map("b", ""),
            _ => map("a", "next"),
        }
    }

    async fn dependents(freshness: &'static str) -> Result<Vec<String>, Error> {
        let service = tower::service_fn(move |request: http::Request<Body>| async move {
            let body = answer(&request.uri().to_string(), freshness).to_string();
            http::Response::builder().body(Body::from(body.into_bytes()))
        });
        let client = Client::new(service, "default");
        let dependents = Dependents::new(client.clone(), Arc::new(Discovery::new(client)));
        let owned = dependents.of("owner", "default").await?;
        Ok(owned.iter().filter_map(|owned| owned.metadata.name.clone()).collect())
    }

    #[tokio::test]
    async fn dependents_are_looked_for_on_every_page() {
        assert_eq!(dependents("Current").await.unwrap(), ["a", "b"]);
    }

    #[tokio::test]
    async fn while_some_kinds_are_not_known_nobody_is_said_to_have_no_dependents() {
        let error = dependents("Stale").await.unwrap_err();
        assert!(error.reason().contains("x.io/v1 failing"), "{}", error.reason());
    }
}
