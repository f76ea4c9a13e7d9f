//! `persistentVolumeClaim`: the volume that a claim has got, if it is a path of the node.

use std::{
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use api_machinery::volume_matching;
use api_types::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Volume};
use async_trait::async_trait;

use super::{PodContext, VolumeError, directories, host_path, made, ownership, source::Source};
use crate::spec;

/// Below a pod's directory: links to the volumes of its claims, so that containers are restarted without asking the API server.
const CLAIMS: &str = "claims";

pub(super) struct Claimed;

#[async_trait]
impl Source for Claimed {
    fn claims(&self, volume: &Volume) -> bool {
        volume.persistent_volume_claim.is_some()
    }

    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError> {
        let links = context.pod_dir.join(CLAIMS);
        let link = links.join(&volume.name);
        if let Ok(path) = std::fs::read_link(&link) {
            return Ok(path);
        }
        let source = volume.persistent_volume_claim.clone().unwrap_or_default();
        let found = found(&source.claim_name, context).await?;
        // What is only read stays whose it is.
        let group = context.fs_group().filter(|_| source.read_only != Some(true));
        let path = path_of(&found, &node(context).await?, group)?;
        directories::private_directory(&links).map_err(VolumeError::io(&links))?;
        keep(&path, &link)?;
        Ok(path)
    }
}

/// Whether a pod has a volume that is there, by the directory of all pods.
pub(super) fn is_used(path: &Path, pods: &Path) -> bool {
    let entries = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut links = entries(pods.to_owned()).flat_map(|pod| entries(pod.path().join(CLAIMS)));
    links.any(|link| std::fs::read_link(link.path()).is_ok_and(|it| it == path))
}

fn keep(path: &Path, link: &Path) -> Result<(), VolumeError> {
    match symlink(path, link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(VolumeError::io(link)(error))
        }
        _ => Ok(()),
    }
}

/// The volume that the claim has.
async fn found(claim: &str, context: PodContext<'_>) -> Result<PersistentVolume, VolumeError> {
    let pod = spec::identity(context.pod);
    let objects = context.objects;
    let fetched = objects.persistent_volume_claim(&pod, claim).await;
    let fetched = fetched.map_err(|error| VolumeError::fetch(claim, error))?;
    let missing =
        || VolumeError::NotFound { kind: "persistentvolumeclaim", name: claim.to_owned() };
    let claim = fetched.ok_or_else(missing)?;
    if claim.metadata.deletion_timestamp.is_some() {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        return Err(VolumeError::Going(format!("{namespace}/{name}")));
    }
    let name = bound(&claim)?;
    let fetched = objects.persistent_volume(name).await;
    let fetched = fetched.map_err(|error| VolumeError::fetch(name, error))?;
    let missing = || VolumeError::NotFound { kind: "persistentvolume", name: name.to_owned() };
    let volume = fetched.ok_or_else(missing)?;
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if reference.is_none_or(|it| it.uid != claim.metadata.uid) {
        return Err(VolumeError::Unbound(claim.metadata.name.unwrap_or_default()));
    }
    Ok(volume)
}

fn bound(claim: &PersistentVolumeClaim) -> Result<&str, VolumeError> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    let unbound = || VolumeError::Unbound(claim.metadata.name.clone().unwrap_or_default());
    volume.filter(|name| phase == Some("Bound") && !name.is_empty()).ok_or_else(unbound)
}

/// The node that the pod is on.
async fn node(context: PodContext<'_>) -> Result<Node, VolumeError> {
    let name = spec::spec(context.pod).and_then(|spec| spec.node_name.as_deref());
    let name = name.unwrap_or_default();
    let fetched = context.objects.node(name).await;
    let fetched = fetched.map_err(|error| VolumeError::fetch(name, error))?;
    fetched.ok_or_else(|| VolumeError::NotFound { kind: "node", name: name.to_owned() })
}

/// Where it is on this node, which has to be one that it can be used on.
fn path_of(
    volume: &PersistentVolume,
    node: &Node,
    group: Option<u32>,
) -> Result<PathBuf, VolumeError> {
    let name = || volume.metadata.name.clone().unwrap_or_default();
    let Some(spec) = &volume.spec else { return Err(VolumeError::Unsupported(name())) };
    if !volume_matching::is_at(volume, node) {
        return Err(VolumeError::Elsewhere(name()));
    }
    if let Some(source) = &spec.host_path {
        let path = PathBuf::from(&source.path);
        let is_made = made::is_to_be_made(volume);
        if is_made {
            let node = node.metadata.name.as_deref().unwrap_or_default();
            made::make(&path, node, group).map_err(VolumeError::io(&path))?;
        }
        host_path::check(&path, source.type_.as_deref().unwrap_or_default())?;
        return if is_made { shared(path, group) } else { Ok(path) };
    }
    let local = spec.local.as_ref().ok_or_else(|| VolumeError::Unsupported(name()))?;
    let path = PathBuf::from(&local.path);
    host_path::check(&path, "Directory")?;
    shared(path, group)
}

fn shared(path: PathBuf, group: Option<u32>) -> Result<PathBuf, VolumeError> {
    if let Some(group) = group {
        ownership::share_directory(&path, group).map_err(VolumeError::io(&path))?;
    }
    Ok(path)
}
