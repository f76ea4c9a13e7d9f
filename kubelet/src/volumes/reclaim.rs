//! What was on volumes that were made of directories of this node, and that have gone, is taken away: an annotation of the Node
//! says of which.

use std::{
    io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use api_types::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{made, persistent_volume_claim};
use crate::describe::describe;

const LOOK: Duration = Duration::from_secs(60);
/// Begins the names of such annotations, which end with the volume's; the value is the directory.
const REMOVE: &str = "remove.minik8s.io/";

/// Looks until shutdown.
///
/// `pods` is where the directories of all pods are.
pub(crate) async fn run(client: Client, node: String, pods: PathBuf, shutdown: CancellationToken) {
    let api = Api::<Node>::all(client);
    loop {
        match api.get_opt(&node).await {
            Ok(Some(node)) => remove_all(&api, &node, &pods).await,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(error = describe(&error), "cannot ask which volumes have gone");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn remove_all(api: &Api<Node>, node: &Node, pods: &Path) {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    for (annotation, path) in doomed(node) {
        if !is_done_with(&path, pods).await {
            continue;
        }
        let done = Patch::Merge(json!({"metadata": {"annotations": {annotation: null}}}));
        if let Err(error) = api.patch(name, &PatchParams::default(), &done).await {
            tracing::debug!(error = describe(&error), "cannot tell that a volume is removed");
        }
    }
}

async fn is_done_with(path: &Path, pods: &Path) -> bool {
    let shown = path.display();
    match remove(path.to_owned(), pods.to_owned()).await {
        Ok(Outcome::Removed) => tracing::info!(path = %shown, "removed what was on a volume"),
        Ok(Outcome::NotMade) => {
            tracing::warn!(path = %shown, "what was on a volume stays: it was there before");
        }
        Ok(Outcome::Used) => {
            tracing::debug!(path = %shown, "a pod still uses a volume that is to go");
            return false;
        }
        Err(error) => {
            let error = describe(&error);
            tracing::warn!(path = %shown, error, "cannot remove what was on a volume");
            return false;
        }
    }
    true
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Removed,
    /// It is no directory that was made for a claim, and stays.
    NotMade,
    /// A pod that is here has it: another look is taken later.
    Used,
}

async fn remove(path: PathBuf, pods: PathBuf) -> io::Result<Outcome> {
    let removed = tokio::task::spawn_blocking(move || remove_unused(&path, &pods)).await;
    removed.unwrap_or_else(|lost| Err(lost.into()))
}

fn remove_unused(path: &Path, pods: &Path) -> io::Result<Outcome> {
    if persistent_volume_claim::is_used(path, pods) {
        return Ok(Outcome::Used);
    }
    Ok(if made::remove(path)? { Outcome::Removed } else { Outcome::NotMade })
}

/// The directories, with the annotations that say so. Only ones that are called as their volumes are: whoever writes
/// annotations does not say what else is removed.
fn doomed(node: &Node) -> Vec<(String, PathBuf)> {
    let annotations = node.metadata.annotations.iter().flatten();
    let directory = |(annotation, path): (&String, &String)| {
        let volume = annotation.strip_prefix(REMOVE).filter(|it| it.starts_with("pvc-"))?;
        let path = Path::new(path);
        let is_it = path.is_absolute()
            && path.file_name().is_some_and(|name| name == volume)
            && !path.components().any(|it| it == Component::ParentDir);
        is_it.then(|| (annotation.clone(), path.to_owned()))
    };
    annotations.filter_map(directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_that_are_called_as_their_volumes_are_removed() {
        let check = |volume: &str, path: &str, is_doomed: bool| {
            let annotations = json!({format!("remove.minik8s.io/{volume}"): path, "other": path});
            let node = json!({"metadata": {"name": "n1", "annotations": annotations}});
            let doomed = doomed(&serde_json::from_value(node).unwrap());
            assert_eq!(!doomed.is_empty(), is_doomed, "{volume} {path}");
        };
        check("pvc-1", "/srv/volumes/pvc-1", true);
        check("pvc-1", "/srv/volumes/pvc-2", false);
        check("pvc-1", "/srv/pvc-1/..", false);
        check("pvc-1", "pvc-1", false);
        check("pvc-1", "/srv/volumes/../pvc-1", false);
        check("etc", "/etc", false);
    }

    #[test]
    fn what_a_pod_has_stays_until_it_has_gone() {
        let root = tempfile::tempdir().unwrap();
        let (pods, path) = (root.path().join("pods"), root.path().join("volumes/pvc-1"));
        made::make(&path, "n1", None).unwrap();
        let links = pods.join("uid/claims");
        std::fs::create_dir_all(&links).unwrap();
        std::os::unix::fs::symlink(&path, links.join("data")).unwrap();
        assert_eq!(remove_unused(&path, &pods).unwrap(), Outcome::Used);
        assert!(path.exists());
        std::fs::remove_dir_all(&pods).unwrap();
        assert_eq!(remove_unused(&path, &pods).unwrap(), Outcome::Removed);
        assert!(!path.exists());
    }
}
