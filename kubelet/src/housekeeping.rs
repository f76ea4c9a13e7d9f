//! What has to be looked for now and then: directories of pods that are no longer there, and volumes
//! that have grown over their limit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api_types::api::core::v1::Pod;
use component::events::EventType;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    describe::describe,
    pod::{manager::PodManager, status},
    spec,
    volumes::{
        self,
        empty_dir::{Limited, limited},
        usage,
    },
};

const LOOK: Duration = Duration::from_secs(10);

/// Looks until shutdown.
pub async fn run(context: Arc<Context>, pods: Arc<PodManager>, shutdown: CancellationToken) {
    let mut lists = pods.lists();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
            // Only now it is known which pods there are.
            Ok(()) = lists.changed() => {}
        }
        remove_orphans(&context, &pods).await;
        enforce_limits(&context, &pods).await;
    }
}

// === Directories without a pod ===

/// The directories come first: what appears meanwhile belongs to a new pod.
pub(crate) async fn remove_orphans(context: &Context, pods: &PodManager) {
    if !pods.has_listed() {
        return;
    }
    let found = directories(context);
    let Ok(containers) = context.runtime.summary().await else { return };
    let mut known: BTreeSet<String> = containers.into_iter().map(|brief| brief.pod).collect();
    known.extend(pods.pods().iter().map(|pod| spec::identity(pod).uid));
    for uid in found.difference(&known) {
        match volumes::remove(context.pod_dir(uid)).await {
            Ok(()) => tracing::info!(uid, "removed the files of a pod that is gone"),
            Err(error) => {
                let error = describe(&error);
                tracing::warn!(uid, error, "cannot remove the files of a pod that is gone");
            }
        }
    }
}

fn directories(context: &Context) -> BTreeSet<String> {
    let entries = std::fs::read_dir(context.pods_dir()).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

// === Volumes over their limit ===

pub(crate) async fn enforce_limits(context: &Arc<Context>, pods: &PodManager) {
    let candidates: BTreeMap<String, (Arc<Pod>, Vec<Limited>)> = pods
        .pods()
        .into_iter()
        .filter(|pod| is_active(pod))
        .map(|pod| {
            let uid = spec::identity(&pod).uid;
            let limits = limited(&pod, &context.pod_dir(&uid));
            (uid, (pod, limits))
        })
        .filter(|(_, (_, limits))| !limits.is_empty())
        .collect();
    for (pod, limits) in candidates.into_values() {
        let over = tokio::task::spawn_blocking(move || {
            limits.into_iter().find(|limited| usage::of_directory(&limited.path) > limited.limit)
        });
        if let Ok(Some(over)) = over.await {
            evict(context, pods, &pod, &over);
        }
    }
}

fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The pod's worker stops it, and reports it as failed once nothing of it runs.
fn evict(context: &Context, pods: &PodManager, pod: &Pod, over: &Limited) {
    let Limited { volume, text, .. } = over;
    let message = format!("Usage of EmptyDir volume {volume:?} exceeds the limit {text:?}. ");
    let identity = spec::identity(pod);
    if pods.evict(&identity.uid, &message) {
        tracing::warn!(pod = identity.name, message, "evicting a pod");
        context.pod_event(pod, EventType::Warning, status::EVICTED, message);
    }
}

#[cfg(test)]
#[path = "housekeeping_tests.rs"]
mod tests;
