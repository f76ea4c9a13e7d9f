//! Gives every namespace the ConfigMap `kube-root-ca.crt`, from which its pods learn whom to trust as the
//! API server (Kubernetes: `pkg/controller/certificates/rootcacertpublisher`).

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::core::v1::{ConfigMap, Namespace};
use api_types::meta::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::watcher::Config;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as \
     the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
     Kubernetes clusters.",
);

/// `None` if there is no authority to publish.
pub(super) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Option<Registered> {
    let root_ca = context.settings.root_ca.clone()?;
    let queue = Arc::new(WorkQueue::default());
    let maps = Arc::new(Informer::default());
    watch(&context.informers.namespaces, &maps, &queue);
    tasks.spawn(follow(context.client(), maps.clone()));
    let namespaces = context.informers.namespaces.clone();
    let controller = Publisher {
        client: context.client(),
        namespaces: namespaces.clone(),
        maps: maps.clone(),
        root_ca,
    };
    Some(Registered::new(controller, queue).reads(&*namespaces).reads(&*maps))
}

fn watch(namespaces: &Informer<Namespace>, maps: &Informer<ConfigMap>, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    namespaces.on_change(move |change: &Change<Namespace>| {
        change.new.iter().for_each(|namespace| wanted.add(ObjectKey::of(&namespace.metadata)));
    });
    let wanted = queue.clone();
    maps.on_change(move |change: &Change<ConfigMap>| {
        let namespace = change.latest().and_then(|map| map.metadata.namespace.clone());
        wanted.add(ObjectKey::cluster(namespace.unwrap_or_default()));
    });
}

/// Of all ConfigMaps only these are held.
async fn follow(client: Client, maps: Arc<Informer<ConfigMap>>) {
    let only_ours = Config::default().fields(&format!("metadata.name={NAME}"));
    maps.follow(watcher(Api::all(client), only_ours).default_backoff()).await;
}

struct Publisher {
    client: Client,
    namespaces: Arc<Informer<Namespace>>,
    maps: Arc<Informer<ConfigMap>>,
    root_ca: String,
}

#[async_trait::async_trait]
impl Controller for Publisher {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let namespace = self.namespaces.get(key);
        if namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            return Ok(Next::Change);
        }
        let current = self.maps.get(&ObjectKey::new(&key.name, NAME));
        let Some(wanted) = wanted(current.as_deref(), &self.root_ca) else {
            return Ok(Next::Change);
        };
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &key.name);
        match current {
            None => self.create(&api, &wanted).await?,
            Some(_) => {
                let replaced = api.replace(NAME, &PostParams::default(), &wanted).await;
                replaced.unless_gone("restoring the root certificate of a namespace")?;
            }
        }
        Ok(Next::Change)
    }
}

impl Publisher {
    /// One that is there already is seen in a moment, and then compared.
    async fn create(&self, api: &Api<ConfigMap>, wanted: &ConfigMap) -> Result<(), Error> {
        match api.create(&PostParams::default(), wanted).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            created => created.unless_terminating("publishing the root certificate").map(|_| ()),
        }
    }
}

/// The ConfigMap as it should be, if it is not; other annotations are left alone.
fn wanted(current: Option<&ConfigMap>, root_ca: &str) -> Option<ConfigMap> {
    let data = Some(BTreeMap::from([(KEY.to_owned(), root_ca.to_owned())]));
    let named = || ConfigMap {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    let mut wanted = current.cloned().unwrap_or_else(named);
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    let described = annotations.get(DESCRIPTION.0).is_some_and(|text| !text.is_empty());
    if described && wanted.data == data {
        return None;
    }
    annotations.insert(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
    wanted.data = data;
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn map(annotations: Value, data: Value) -> ConfigMap {
        let metadata = json!({"name": NAME, "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
    }

    #[test]
    fn what_was_edited_is_restored_and_the_rest_left_alone() {
        let published = wanted(None, "PEM").unwrap();
        assert_eq!(published.data.as_ref().unwrap()["ca.crt"], "PEM");
        assert_eq!(wanted(Some(&published), "PEM"), None);
        assert!(wanted(Some(&published), "NEW").is_some(), "the authority has changed");
        let described = json!({DESCRIPTION.0: "in other words", "mine": "x"});
        assert_eq!(wanted(Some(&map(described.clone(), json!({"ca.crt": "PEM"}))), "PEM"), None);
        let edited = map(described, json!({"ca.crt": "other", "more": "x"}));
        let restored = wanted(Some(&edited), "PEM").unwrap();
        assert_eq!(restored.data, published.data);
        assert_eq!(restored.metadata.annotations.unwrap()["mine"], "x");
    }
}
