//! The ConfigMaps and Secrets that the pods of this node use: fetched when a pod uses one for the first time,
//! and from then on kept by a watch, as long as a pod uses it. So containers are restarted without asking
//! the API server, and while it is away.

mod known;
#[cfg(test)]
mod tests;

use std::{fmt::Debug, time::Duration};

use api_types::api::core::v1::{ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Secret};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::timeout;

use self::known::{Kept, Known};
use crate::runtime::PodIdentity;

/// How long the API server is waited for if the object is known from other pods.
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

    /// A claim of the pod's namespace; `None` if there is none. It is looked at once for a pod, and not kept.
    ///
    /// # Errors
    /// The API server refuses, or does not answer.
    pub async fn persistent_volume_claim(
        &self,
        pod: &PodIdentity,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, kube::Error> {
        Api::namespaced(self.client.clone(), &pod.namespace).get_opt(name).await
    }

    /// A volume; `None` if there is none.
    ///
    /// # Errors
    /// The API server refuses, or does not answer.
    pub async fn persistent_volume(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolume>, kube::Error> {
        Api::all(self.client.clone()).get_opt(name).await
    }

    /// The node of this name, which is ours.
    ///
    /// # Errors
    /// The API server refuses, or does not answer.
    pub async fn node(&self, name: &str) -> Result<Option<Node>, kube::Error> {
        Api::all(self.client.clone()).get_opt(name).await
    }

    /// The pod has ended: what only it used is forgotten.
    pub fn release(&self, uid: &str) {
        self.config_maps.lock().release(uid);
        self.secrets.lock().release(uid);
    }

    /// How many ConfigMaps are watched.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        self.config_maps.lock().watched().len()
    }

    async fn get<K: Kept>(
        &self,
        known: &Mutex<Known<K>>,
        pod: &PodIdentity,
        name: &str,
    ) -> Result<Option<K>, kube::Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &pod.namespace);
        let last_seen = known.lock().get(pod, name);
        let found = match last_seen {
            None => api.get_opt(name).await?,
            Some(seen) if seen.by_this_pod => return Ok(seen.object),
            // A pod that is new sees what is there now, and not what the watch has still to tell.
            Some(seen) => match timeout(self.patience, api.get_opt(name)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) if is_answer(&error) => return Err(error),
                Ok(Err(_)) | Err(_) => {
                    known.lock().join(pod, name, seen.object.as_ref(), api);
                    return Ok(seen.object);
                }
            },
        };
        known.lock().note(pod, name, found.as_ref(), api);
        Ok(found)
    }
}

/// Whether the API server has decided, and is not just in trouble.
fn is_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code < 500 && status.code != 429)
}
