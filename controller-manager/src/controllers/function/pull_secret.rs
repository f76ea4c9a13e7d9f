//! Gives every namespace that has functions a copy of the registry's Secret, which their pods name: nodes can pull only
//! with Secrets of a pod's own namespace. A Secret that has the copy's name and not its label is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::core::v1::Secret;
use api_types::meta::ObjectMeta;
use api_types::minik8s::Function;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::watcher::Config;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::functions::PULL_SECRET;

/// On copies.
const LABEL: &str = "minik8s.io/function-registry-copy";

/// `None` if the registry asks for nothing.
pub(crate) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Option<Registered> {
    let source = context.settings.functions.function_registry_secret.clone()?;
    let queue = Arc::new(WorkQueue::default());
    let functions = context.informers.functions.clone();
    let (sources, copies) = (Arc::new(Informer::default()), Arc::new(Informer::default()));
    watch(&functions, &sources, &copies, &queue);
    let api = Api::namespaced(context.client(), &source.namespace);
    tasks.spawn(follow(api, source.name.clone(), sources.clone()));
    tasks.spawn(follow(Api::all(context.client()), PULL_SECRET.to_owned(), copies.clone()));
    let controller = Copier {
        client: context.client(),
        source,
        functions: functions.clone(),
        sources: sources.clone(),
        copies: copies.clone(),
    };
    let registered = Registered::new(controller, queue).reads(&*functions);
    Some(registered.reads(&*sources).reads(&*copies))
}

/// Keys are namespaces.
fn watch(
    functions: &Arc<Informer<Function>>,
    sources: &Informer<Secret>,
    copies: &Informer<Secret>,
    queue: &Arc<WorkQueue>,
) {
    let namespace =
        |metadata: &ObjectMeta| ObjectKey::cluster(metadata.namespace.clone().unwrap_or_default());
    let wanted = queue.clone();
    functions.on_change(move |change: &Change<Function>| {
        change.latest().iter().for_each(|function| wanted.add(namespace(&function.metadata)));
    });
    let wanted = queue.clone();
    copies.on_change(move |change: &Change<Secret>| {
        change.latest().iter().for_each(|copy| wanted.add(namespace(&copy.metadata)));
    });
    let (wanted, functions) = (queue.clone(), Arc::downgrade(functions));
    sources.on_change(move |_| {
        let functions = functions.upgrade().map(|functions| functions.list()).unwrap_or_default();
        functions.iter().for_each(|function| wanted.add(namespace(&function.metadata)));
    });
}

/// Of all Secrets only those with this name are held.
async fn follow(api: Api<Secret>, name: String, secrets: Arc<Informer<Secret>>) {
    let only = Config::default().fields(&format!("metadata.name={name}"));
    secrets.follow(watcher(api, only).default_backoff()).await;
}

struct Copier {
    client: Client,
    source: ObjectKey,
    functions: Arc<Informer<Function>>,
    sources: Arc<Informer<Secret>>,
    copies: Arc<Informer<Secret>>,
}

#[async_trait::async_trait]
impl Controller for Copier {
    fn name(&self) -> &'static str {
        "function-pull-secret-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let namespace = &key.name;
        let name = ObjectKey::new(namespace, PULL_SECRET);
        if name == self.source {
            return Ok(Next::Change);
        }
        let copy = self.copies.get(&name);
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let is_needed = !self.functions.filter_in(namespace, |_| true).is_empty();
        match (copy, self.sources.get(&self.source)) {
            (Some(other), _) if !is_copy(&other) => {}
            (Some(_), _) if !is_needed => {
                let deleted = api.delete(PULL_SECRET, &DeleteParams::default()).await;
                deleted.unless_gone("deleting the copy of the registry's Secret")?;
            }
            (None, Some(source)) if is_needed => create(&api, &copy_of(&source)).await?,
            (Some(copy), Some(source)) if copy.data != source.data => {
                let new = Secret { data: source.data.clone(), ..(*copy).clone() };
                let replaced = api.replace(PULL_SECRET, &PostParams::default(), &new).await;
                replaced.unless_gone("renewing the copy of the registry's Secret")?;
            }
            _ => {}
        }
        Ok(Next::Change)
    }
}

/// One that is there already is seen in a moment, and then compared.
async fn create(api: &Api<Secret>, copy: &Secret) -> Result<(), Error> {
    match api.create(&PostParams::default(), copy).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => created.unless_terminating("copying the registry's Secret").map(drop),
    }
}

fn is_copy(secret: &Secret) -> bool {
    secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL))
}

fn copy_of(source: &Secret) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(PULL_SECRET.to_owned()),
            labels: Some(BTreeMap::from([(LABEL.to_owned(), String::new())])),
            ..ObjectMeta::default()
        },
        type_: source.type_.clone(),
        data: source.data.clone(),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use testkit::ControlPlane;

    use super::*;

    /// The controller, which has seen a Secret in `default` and maybe a function, looks there.
    async fn reconcile(source: &str, secret: &Secret, has_function: bool) -> Option<Secret> {
        let plane = ControlPlane::start().await;
        let api = Api::<Secret>::namespaced(plane.client(), "default");
        let secret = api.create(&PostParams::default(), secret).await.unwrap();
        let copier = Copier {
            client: plane.client(),
            source: ObjectKey::new(source, PULL_SECRET),
            functions: Arc::default(),
            sources: Arc::default(),
            copies: Arc::default(),
        };
        let mut of_registry = secret_with("new", false);
        of_registry.metadata.namespace = Some(source.to_owned());
        copier.sources.take_in(Event::Apply(of_registry));
        copier.copies.take_in(Event::Apply(secret));
        if has_function {
            let function = json!({"metadata": {"namespace": "default", "name": "f"}, "spec": {}});
            copier.functions.take_in(Event::Apply(serde_json::from_value(function).unwrap()));
        }
        copier.reconcile(&ObjectKey::cluster("default")).await.unwrap();
        api.get_opt(PULL_SECRET).await.unwrap()
    }

    fn secret_with(data: &str, is_copy: bool) -> Secret {
        let data = BTreeMap::from([("a".to_owned(), api_types::ByteString(data.into()))]);
        let mut secret = copy_of(&Secret { data: Some(data), ..Secret::default() });
        secret.metadata.labels = secret.metadata.labels.filter(|_| is_copy);
        secret
    }

    #[tokio::test]
    async fn only_copies_are_renewed_and_deleted() {
        let check = async |source, is_copy, has_function, expected: Option<&str>| {
            let left = reconcile(source, &secret_with("old", is_copy), has_function).await;
            let data = left.map(|left| left.data);
            let expected = expected.map(|data| secret_with(data, is_copy).data);
            assert_eq!(data, expected, "{source} {is_copy} {has_function}");
        };
        check("kube-system", true, true, Some("new")).await;
        check("kube-system", true, false, None).await;
        check("kube-system", false, true, Some("old")).await;
        check("kube-system", false, false, Some("old")).await;
        // The source itself, made from a copy elsewhere.
        check("default", true, true, Some("old")).await;
        check("default", true, false, Some("old")).await;
    }
}
