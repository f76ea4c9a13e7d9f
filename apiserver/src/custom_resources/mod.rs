//! Kinds that come from data: what `CustomResourceDefinition`s say is served by each server as they come, change and go.
//!
//! *Order*: a server serves a kind before it tells in the status that the names are accepted, so that who has waited for
//! that finds it.

mod cleanup;
mod kinds;

use std::{collections::HashSet, sync::Arc};

use api_machinery::ApiError;
use api_types::{apiextensions::CustomResourceDefinition, jiff::Timestamp};
use futures::{StreamExt, stream};
use http::Method;
use serde_json::json;
use store::{Query, Store, StoreError};

use crate::{
    catalogue::Catalogue, changes::Changes, encoded::CachedObject, internal, objects,
    service::InProcess, state::State, storage::Storage,
};

use self::kinds::Stored;
pub(crate) use self::{cleanup::clean_up, kinds::CustomKinds};

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How many statuses are written at once.
const STATUSES: usize = 16;

/// The kinds of what is stored, before anything is read: objects are encoded by what their kinds say.
pub(crate) async fn begin(store: &dyn Store) -> Result<(Catalogue, CustomKinds), StoreError> {
    let page = store.list(PREFIX, Query::default()).await?;
    let stored: Vec<_> = page
        .entries
        .iter()
        .map(|entry| Stored {
            name: entry.key.trim_start_matches(PREFIX),
            revision: entry.revision,
            json: &entry.value,
        })
        .collect();
    let mut kinds = CustomKinds::new();
    let catalogue = kinds.of(&stored, Timestamp::now()).catalogue().unwrap_or_else(|error| {
        tracing::error!(%error, "no custom resources can be served");
        Catalogue::built_in()
    });
    Ok((catalogue, kinds))
}

/// Goes on with it.
pub(crate) async fn follow(state: Arc<State>, api: InProcess, mut kinds: CustomKinds) {
    let mut changes = Changes::of(&state.storage, PREFIX).await;
    loop {
        let is_told = serve(&state, &api, &mut kinds).await;
        changes.next(!is_told).await;
    }
}

/// Whether all has been told that there was to tell.
async fn serve(state: &State, api: &InProcess, kinds: &mut CustomKinds) -> bool {
    let cached = state.storage.cache().list(PREFIX);
    let json = |item: &CachedObject| item.object.as_ref().ok().map(|object| object.json());
    let items: Vec<_> = cached.items.iter().filter_map(|i| Some((i.clone(), json(i)?))).collect();
    let stored: Vec<_> = items
        .iter()
        .map(|(item, json)| Stored {
            name: item.key.trim_start_matches(PREFIX),
            revision: item.revision,
            json,
        })
        .collect();
    let outcome = kinds.of(&stored, Timestamp::now());
    if outcome.is_new {
        match outcome.catalogue() {
            Ok(catalogue) => state.catalogue.replace(catalogue),
            Err(error) => tracing::error!(%error, "custom resources are served as they were"),
        }
    }
    // Many at once: what is to be served next waits for it.
    let tell = |definition| async move {
        let told = write_status(api, definition).await;
        let told = told.inspect_err(|error| {
            tracing::warn!(%error, "the status of a CustomResourceDefinition can't be written yet");
        });
        told.is_ok()
    };
    let told: Vec<_> = outcome.told.iter().map(tell).collect();
    let told = stream::iter(told).buffer_unordered(STATUSES);
    told.fold(true, async |all, is_told| all && is_told).await
}

/// The groups and versions that definitions say are served, whether this server does so by now or not.
pub(crate) fn defined(storage: &Storage) -> HashSet<(String, String)> {
    let definitions: Vec<CustomResourceDefinition> = objects::read_all(storage, PREFIX);
    let mut defined = HashSet::new();
    for definition in definitions {
        let spec = definition.0.spec;
        let served = spec.versions.into_iter().filter(|version| version.served);
        defined.extend(served.map(|version| (spec.group.clone(), version.name)));
    }
    defined
}

/// Writes the status and the finalizers. Who was faster is heard of.
async fn write_status(
    api: &InProcess,
    definition: &CustomResourceDefinition,
) -> Result<(), ApiError> {
    let name = definition.metadata.name.as_deref().unwrap_or_default();
    let path = format!("{PATH}/{name}/status");
    match internal::request(api, Method::PUT, &path, &json!(definition)).await {
        Err(error) if !matches!(error.code(), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}
