//! The objects of a kind go before its definition does (Kubernetes: `apiextensions-apiserver/pkg/controller/finalizer`).

use std::{collections::HashSet, sync::Arc};

use api_machinery::ApiError;
use api_types::{apiextensions::CustomResourceDefinition, jiff::Timestamp, meta::DeleteOptions};
use futures::{StreamExt, stream};
use registry::{CLEANUP_FINALIZER, Deletion, ResourceDef, Scope, TERMINATING, set_condition};
use serde_json::Value;
use store::{Query, Revision, StoreError};
use tokio::task::JoinSet;

use super::{PREFIX, write_status};
use crate::{
    catalogue::Catalogue,
    changes::Changes,
    encoded::CachedObject,
    history,
    query::ReadAt,
    service::InProcess,
    state::State,
    storage::{Address, Storage, Stored, WriteError},
};

/// How many objects are removed at once.
const REMOVALS: usize = 16;

/// Sees to definitions that are being deleted, to each in a task of its own: that of a webhook that does not answer keeps
/// nobody waiting.
pub(crate) async fn clean_up(state: Arc<State>, api: InProcess) {
    let mut changes = Changes::of(&state.storage, PREFIX).await;
    let built_in = Arc::new(Catalogue::built_in());
    let (mut running, mut tasks) = (HashSet::new(), JoinSet::new());
    loop {
        for (definition, _) in state.storage.cache().list(PREFIX).items.iter().filter_map(going) {
            let name = definition.metadata.name.clone().unwrap_or_default();
            if running.insert(name.clone()) {
                tasks.spawn(clean_up_one(state.clone(), api.clone(), built_in.clone(), name));
            }
        }
        tokio::select! {
            () = changes.next(false) => {}
            Some(ended) = tasks.join_next() => {
                running.remove(&ended.expect("nobody aborts it, and it doesn't panic"));
            }
        }
    }
}

/// Sees to one until it does not wait for it any more, and gives its name.
async fn clean_up_one(
    state: Arc<State>,
    api: InProcess,
    built_in: Arc<Catalogue>,
    name: String,
) -> String {
    let mut changes = Changes::of(&state.storage, PREFIX).await;
    loop {
        let cached = state.storage.cache().get(&format!("{PREFIX}{name}"));
        let Some((definition, revision)) = cached.as_ref().and_then(going) else { return name };
        let done = finish(&state, &api, &built_in, definition, revision).await;
        let done = done.inspect_err(|error| {
            tracing::warn!(%error, name, "custom resources can't be deleted yet");
        });
        changes.next(!done.unwrap_or(false)).await;
    }
}

/// A definition that waits for it, and its revision.
fn going(item: &CachedObject) -> Option<(CustomResourceDefinition, Revision)> {
    let object = item.object.as_ref().ok().filter(|object| object.says("deletionTimestamp"))?;
    let definition: CustomResourceDefinition = serde_json::from_slice(&object.json()).ok()?;
    let mut finalizers = definition.metadata.finalizers.iter().flatten();
    let waits = definition.metadata.deletion_timestamp.is_some()
        && finalizers.any(|finalizer| finalizer == CLEANUP_FINALIZER);
    waits.then_some((definition, item.revision))
}

/// Deletes the objects; whether none is left, and the definition may go. Those of kinds of the program's own, whose name
/// a definition may have that was never served, are not its objects.
async fn finish(
    state: &State,
    api: &InProcess,
    built_in: &Catalogue,
    mut definition: CustomResourceDefinition,
    revision: Revision,
) -> Result<bool, ApiError> {
    let catalogue = state.catalogue.load();
    let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
    let is_custom = |def: &ResourceDef| built_in.of_key(&def.prefix(None)).is_none();
    let mut kinds = catalogue.iter().filter(|def| def.is_stored() && is_custom(def));
    let kind = kinds.find(|d| (&d.names.group, &d.names.plural) == (group, plural)).cloned();
    let prefix = format!("/registry/{group}/{plural}/");
    let is_own = built_in.of_key(&prefix).is_some() || history::is_one(&prefix);
    if kind.is_none()
        && !is_own
        && !remove_unserved(state, &catalogue, &definition, revision).await?
    {
        return Ok(false);
    }
    if let Some(kind) = kind {
        // Before that, new ones may come.
        if !catalogue.is_going(&kind) || !delete_all(&state.storage, &kind).await? {
            tell(&mut definition, "True", "InstanceDeletionInProgress");
            write_status(api, &definition).await?;
            return Ok(false);
        }
    }
    definition.metadata.finalizers.iter_mut().for_each(|finalizers| {
        finalizers.retain(|finalizer| finalizer != CLEANUP_FINALIZER);
    });
    tell(&mut definition, "False", "InstanceDeletionCompleted");
    write_status(api, &definition).await?;
    Ok(true)
}

/// Removes what nobody can ask for: the objects of a definition that can't be served. Whoever holds one by a finalizer
/// can't let go of it either. Not so if the definition may merely not have been looked at yet, or is not the latest.
async fn remove_unserved(
    state: &State,
    catalogue: &Catalogue,
    definition: &CustomResourceDefinition,
    revision: Revision,
) -> Result<bool, ApiError> {
    let (metadata, spec) = (&definition.metadata, &definition.spec);
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let Some(def) = catalogue.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    else {
        return Ok(false);
    };
    if !catalogue.leaves_out(uid, revision) {
        return Ok(false);
    }
    let prefix = format!("/registry/{}/{}/", spec.group, spec.names.plural);
    let failed = |error: StoreError| {
        ApiError::internal(format!("what is below {prefix} can't be removed: {error}"))
    };
    let store = state.storage.store();
    let page = store.list(&prefix, Query::default()).await.map_err(failed)?;
    // After that: what is listed is not of another definition, which has come in its place.
    let at = Address { def, namespace: None, name: metadata.name.as_deref().unwrap_or_default() };
    match state.storage.revision_of(at).await {
        Ok(latest) if latest == revision => {}
        Err(error) if error.code() != 404 => return Err(error),
        _ => return Ok(false),
    }
    for entry in page.entries {
        let removed = store.delete(&entry.key, Some(entry.revision)).await;
        removed.map_err(failed)?;
    }
    Ok(true)
}

fn tell(definition: &mut CustomResourceDefinition, value: &str, reason: &str) {
    let message = match value {
        "True" => "CustomResource deletion is in progress",
        _ => "removed all instances",
    };
    let status = definition.status.get_or_insert_default();
    set_condition(status, [TERMINATING, value, reason, message], Timestamp::now());
}

/// Whether all are gone, and not only marked.
async fn delete_all(storage: &Storage, def: &Arc<ResourceDef>) -> Result<bool, ApiError> {
    let prefix = def.prefix(None);
    let objects = storage.list(&prefix, ReadAt::MostRecent).await?;
    let delete = |item: &CachedObject| {
        let item = item.clone();
        async move {
            // In its turn, lest all objects be looked at in one.
            if let Err(error) = delete(storage, def, &item.key, unheld(&item)).await {
                tracing::warn!(%error, key = &*item.key, "a custom resource can't be deleted yet");
            }
        }
    };
    let deletions: Vec<_> = objects.items.iter().map(delete).collect();
    stream::iter(deletions).for_each_concurrent(REMOVALS, |deletion| deletion).await;
    Ok(storage.list(&prefix, ReadAt::MostRecent).await?.items.is_empty())
}

/// The revision of an object that no finalizer holds.
fn unheld(item: &CachedObject) -> Option<Revision> {
    let object = item.object.as_ref().ok()?;
    if !object.says("finalizers") {
        return Some(item.revision);
    }
    let object = object.value();
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_none_or(Vec::is_empty).then_some(item.revision)
}

async fn delete(
    storage: &Storage,
    def: &ResourceDef,
    key: &str,
    unheld: Option<Revision>,
) -> Result<(), ApiError> {
    let path = key.trim_start_matches(&def.prefix(None));
    let (namespace, name) = match def.scope {
        Scope::Namespaced => path.split_once('/').map(|(space, name)| (Some(space), name)),
        Scope::Cluster => None,
    }
    .unwrap_or((None, path));
    let at = Address { def, namespace, name };
    // To remove it, it need not be known in another version: the webhook that would convert it may be gone for good.
    if let Some(revision) = unheld
        && storage.remove(at, revision).await.is_ok()
    {
        return Ok(());
    }
    let attempt = |old: Stored| async move {
        let object = old.typed(def)?;
        match def.begin_deletion(&object, &DeleteOptions::default(), Timestamp::now()) {
            Deletion::Remove => storage.remove(at, old.revision).await.map(drop),
            Deletion::Mark(mut marked) => storage.update(at, &old, &mut marked).await.map(drop),
            Deletion::Pending => Ok::<_, WriteError>(()),
        }
    };
    match storage.compare_and_swap(at, attempt).await {
        Err(error) if error.code() == 404 => Ok(()),
        // What can't be read can't be spared either.
        Err(error) if error.reason() == "StoreReadError" => {
            let revision = storage.revision_of(at).await?;
            Ok(storage.remove(at, revision).await.map(drop)?)
        }
        result => result,
    }
}
