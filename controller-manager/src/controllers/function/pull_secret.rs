//! Gives every namespace that has functions a copy of the registry's Secret, which their pods name: nodes can pull only
//! with Secrets of a pod's own namespace.

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

/// `None` if the registry asks for nothing.
pub(in crate::controllers) fn register(
    context: &Context,
    tasks: &mut JoinSet<()>,
) -> Option<Registered> {
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
        let copy = self.copies.get(&ObjectKey::new(namespace, PULL_SECRET));
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let is_needed = !self.functions.filter_in(namespace, |_| true).is_empty();
        match (copy, self.sources.get(&self.source)) {
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

fn copy_of(source: &Secret) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(PULL_SECRET.to_owned()), ..ObjectMeta::default() },
        type_: source.type_.clone(),
        data: source.data.clone(),
        ..Secret::default()
    }
}
