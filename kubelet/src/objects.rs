//! The ConfigMaps and Secrets that the pods of this node use, as last seen: fetched anew for each start of
//! a container, and taken from memory while the API server does not answer, so that containers are
//! restarted all the same.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    time::Duration,
};

use api_types::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Resource, core::NamespaceResourceScope};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::runtime::PodIdentity;

/// How long the API server is waited for if the object is known from earlier.
const PATIENCE: Duration = Duration::from_secs(5);

/// The objects of the node's pods.
pub struct Objects {
    client: Client,
    config_maps: Mutex<Known<ConfigMap>>,
    secrets: Mutex<Known<Secret>>,
    patience: Duration,
}

impl Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl Objects {
    /// Nothing is known yet.
    pub fn new(client: Client) -> Self {
        let (config_maps, secrets) = Default::default();
        Self { client, config_maps, secrets, patience: PATIENCE }
    }

    /// A ConfigMap of the pod's namespace; `None` if there is none.
    ///
    /// # Errors
    /// The API server refuses; or it does not answer and the object was never seen.
    pub async fn config_map(
        &self,
        pod: &PodIdentity,
        name: &str,
    ) -> Result<Option<ConfigMap>, kube::Error> {
        self.get(&self.config_maps, pod, name).await
    }

    /// A Secret of the pod's namespace; `None` if there is none.
    ///
    /// # Errors
    /// As [`Objects::config_map`].
    pub async fn secret(
        &self,
        pod: &PodIdentity,
        name: &str,
    ) -> Result<Option<Secret>, kube::Error> {
        self.get(&self.secrets, pod, name).await
    }

    /// The pod is gone: what only it used is forgotten.
    pub fn release(&self, uid: &str) {
        self.config_maps.lock().release(uid);
        self.secrets.lock().release(uid);
    }

    async fn get<K>(
        &self,
        known: &Mutex<Known<K>>,
        pod: &PodIdentity,
        name: &str,
    ) -> Result<Option<K>, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &pod.namespace);
        let last_seen = known.lock().get(pod, name);
        let answer = match &last_seen {
            None => api.get_opt(name).await,
            Some(object) => match timeout(self.patience, api.get_opt(name)).await {
                Ok(Err(error)) if !is_answer(&error) => return Ok(Some(object.clone())),
                Err(_) => return Ok(Some(object.clone())),
                Ok(answer) => answer,
            },
        };
        let found = answer?;
        known.lock().note(pod, name, found.as_ref());
        Ok(found)
    }
}

/// Whether the API server has decided, and is not just in trouble.
fn is_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code < 500 && status.code != 429)
}

#[derive(Debug)]
struct Entry<K> {
    object: K,
    /// The uids of the pods that use it.
    users: BTreeSet<String>,
}

/// Objects by namespace and name.
#[derive(Debug)]
struct Known<K>(HashMap<(String, String), Entry<K>>);

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone> Known<K> {
    fn get(&self, pod: &PodIdentity, name: &str) -> Option<K> {
        let key = (pod.namespace.clone(), name.to_owned());
        self.0.get(&key).map(|entry| entry.object.clone())
    }

    fn note(&mut self, pod: &PodIdentity, name: &str, found: Option<&K>) {
        let key = (pod.namespace.clone(), name.to_owned());
        let Some(object) = found.cloned() else {
            self.0.remove(&key);
            return;
        };
        let users = self.0.remove(&key).map(|entry| entry.users).unwrap_or_default();
        let entry = self.0.entry(key).or_insert(Entry { object, users });
        entry.users.insert(pod.uid.clone());
    }

    fn release(&mut self, uid: &str) {
        self.0.retain(|_, entry| {
            entry.users.remove(uid);
            !entry.users.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http::{Request, Response};
    use kube::{
        api::{DeleteParams, Patch, PatchParams, PostParams},
        client::Body,
    };
    use serde_json::json;
    use testkit::{ControlPlane, wait};

    use super::*;

    fn pod(uid: &str) -> PodIdentity {
        PodIdentity { uid: uid.to_owned(), namespace: "default".to_owned(), name: uid.to_owned() }
    }

    fn value(object: Option<ConfigMap>) -> Option<String> {
        object?.data?.remove("key")
    }

    #[tokio::test]
    async fn what_was_seen_last_is_used_only_while_the_api_server_is_away() {
        let plane = ControlPlane::start().await;
        let api: Api<ConfigMap> = Api::default_namespaced(plane.client());
        let object = json!({"metadata": {"name": "c"}, "data": {"key": "old"}});
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        let objects = Objects::new(plane.client());
        let get = async || objects.config_map(&pod("a"), "c").await;
        assert_eq!(value(get().await.unwrap()).as_deref(), Some("old"));

        let change = Patch::Merge(json!({"data": {"key": "new"}}));
        api.patch("c", &PatchParams::default(), &change).await.unwrap();
        assert_eq!(value(get().await.unwrap()).as_deref(), Some("new"));
        plane.stop_server().await;
        assert_eq!(value(get().await.unwrap()).as_deref(), Some("new"));
        assert!(objects.config_map(&pod("a"), "never-seen").await.is_err());

        plane.start_server().await;
        api.delete("c", &DeleteParams::default()).await.unwrap();
        assert_eq!(get().await.unwrap(), None);
        plane.stop_server().await;
        assert!(get().await.is_err(), "an object that was deleted is not known any more");
    }

    #[tokio::test]
    async fn an_api_server_that_says_nothing_is_not_waited_for_if_the_object_is_known() {
        let asked = AtomicUsize::new(0);
        let service = tower::service_fn(move |_: Request<Body>| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if !first {
                    std::future::pending::<()>().await;
                }
                let object = json!({"metadata": {"name": "c"}, "data": {"key": "old"}});
                Ok::<_, Infallible>(Response::new(Body::from(object.to_string().into_bytes())))
            }
        });
        let client = Client::new(service, "default");
        let objects = Objects { patience: Duration::from_millis(1), ..Objects::new(client) };
        for _ in 0..2 {
            let found = timeout(wait::DEADLINE, objects.config_map(&pod("a"), "c")).await;
            assert_eq!(value(found.unwrap().unwrap()).as_deref(), Some("old"));
        }
    }

    #[test]
    fn an_object_is_forgotten_with_its_last_user() {
        let mut known = Known::default();
        known.note(&pod("a"), "c", Some(&1));
        known.note(&pod("b"), "c", Some(&2));
        known.release("a");
        assert_eq!(known.get(&pod("a"), "c"), Some(2));
        known.release("b");
        assert_eq!(known.get(&pod("a"), "c"), None);
    }
}
