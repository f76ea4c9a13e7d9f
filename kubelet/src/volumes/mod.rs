//! A pod's volumes: one file per source, in the list [`SOURCES`].
//!
//! A source makes a directory or file on the node; the containers get it as a bind mount. Setting up
//! is repeated before each start of a container and must therefore be idempotent. What a container may
//! have written is never trusted: no link in it is followed to a place outside.

mod config_map;
mod directories;
mod downward_api;
pub(crate) mod empty_dir;
mod error;
mod host_path;
mod made;
mod memory;
mod mount_table;
mod nested;
mod ownership;
mod payload;
mod persistent_volume_claim;
mod projected;
pub(crate) mod reclaim;
mod removal;
mod secret;
mod source;
mod sub_path;
pub(crate) mod usage;
mod writer;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use api_types::api::core::v1::{Container, Pod, Volume, VolumeMount};

use self::{mount_table::MountTable, source::Source};
use crate::{
    runtime::{Mount, Propagation},
    spec,
};

pub(crate) use self::directories::{of_volumes, prepare, private_directory};
pub use self::{error::VolumeError, source::PodContext};

/// Where the parts of volumes are that containers see.
const PARTS: &str = "volume-subpaths";

const SOURCES: [&dyn Source; 7] = [
    &host_path::HostPath,
    &empty_dir::EmptyDir,
    &config_map::ConfigMapVolume,
    &secret::SecretVolume,
    &downward_api::DownwardApi,
    &projected::Projected,
    &persistent_volume_claim::Claimed,
];

/// A volume that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?}")]
pub struct SetUpError {
    /// The volume's name.
    pub volume: String,
    /// Why not.
    #[source]
    pub source: VolumeError,
}

/// A volume that containers can mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Where it is on the node.
    pub path: PathBuf,
    /// Whether containers can only read it.
    pub read_only: bool,
}

/// The volumes of a pod by name.
pub type Volumes = BTreeMap<String, Prepared>;

/// Makes all volumes of a pod.
pub async fn set_up(context: PodContext<'_>) -> Result<Volumes, SetUpError> {
    let mut prepared = Volumes::new();
    let volumes = spec::spec(context.pod).and_then(|spec| spec.volumes.as_deref());
    for volume in volumes.unwrap_or_default() {
        let made = set_up_one(volume, context).await;
        let made = made.map_err(|source| SetUpError { volume: volume.name.clone(), source })?;
        prepared.insert(volume.name.clone(), made);
    }
    Ok(prepared)
}

/// Whether what the API server has is shown in one of the pod's volumes, and may change while the pod runs.
pub(crate) fn may_change(pod: &Pod) -> bool {
    let volumes = spec::spec(pod).and_then(|spec| spec.volumes.as_deref());
    volumes.unwrap_or_default().iter().any(is_shown)
}

/// Brings the volumes of a pod that runs up to date with what they show. Each for itself: one whose ConfigMap is gone does
/// not keep a token from being renewed.
pub async fn refresh(context: PodContext<'_>) -> Vec<SetUpError> {
    let volumes = spec::spec(context.pod).and_then(|spec| spec.volumes.as_deref());
    let mut failed = Vec::new();
    for volume in volumes.unwrap_or_default().iter().filter(|volume| is_shown(volume)) {
        let made = set_up_one(volume, context).await;
        let made = made.map_err(|source| SetUpError { volume: volume.name.clone(), source });
        failed.extend(made.err());
    }
    failed
}

fn is_shown(volume: &Volume) -> bool {
    SOURCES.iter().any(|source| source.claims(volume) && source.read_only())
}

async fn set_up_one(volume: &Volume, context: PodContext<'_>) -> Result<Prepared, VolumeError> {
    let source = SOURCES.iter().find(|source| source.claims(volume));
    let source = source.ok_or_else(|| VolumeError::Unsupported(volume.name.clone()))?;
    let path = source.set_up(volume, context).await?;
    let claim = volume.persistent_volume_claim.as_ref();
    let to_read = claim.and_then(|claim| claim.read_only).unwrap_or_default();
    Ok(Prepared { path, read_only: source.read_only() || to_read })
}

/// The bind mounts of a container. Missing directories named by `subPath` are made.
pub fn mounts(
    container: &Container,
    volumes: &Volumes,
    variables: &[(String, String)],
    pod_dir: &Path,
) -> Result<Vec<Mount>, VolumeError> {
    let numbered = container.volume_mounts.iter().flatten().enumerate();
    numbered
        .map(|(number, wanted)| {
            let place = pod_dir
                .join(PARTS)
                .join(&wanted.name)
                .join(&container.name)
                .join(number.to_string());
            mount(wanted, volumes, variables, &place)
        })
        .collect()
}

/// `place` is where a part of the volume is shown if the container gets only a part of it.
fn mount(
    wanted: &VolumeMount,
    volumes: &Volumes,
    variables: &[(String, String)],
    place: &Path,
) -> Result<Mount, VolumeError> {
    let volume =
        volumes.get(&wanted.name).ok_or_else(|| VolumeError::Unknown(wanted.name.clone()))?;
    let expression =
        wanted.sub_path_expr.as_deref().map(|e| crate::container::env::expand(e, variables));
    let sub_path = expression.or_else(|| wanted.sub_path.clone()).unwrap_or_default();
    let source = if sub_path.is_empty() {
        volume.path.as_path()
    } else {
        sub_path::show(&volume.path, &sub_path, place)?;
        place
    };
    Ok(Mount {
        source: source.to_string_lossy().into_owned(),
        target: wanted.mount_path.clone(),
        read_only: volume.read_only || wanted.read_only.unwrap_or_default(),
        propagation: Propagation::parse(wanted.mount_propagation.as_deref()),
    })
}

/// Removes everything of a pod from the node: unmounts what is mounted below its directory first.
/// Data of `hostPath` volumes is not there and stays; were something still mounted, it would stay too.
pub fn tear_down(pod_dir: &Path) -> Result<(), VolumeError> {
    tear_down_by(MountTable::read, pod_dir)
}

/// [`tear_down`] beside the tasks: a large volume takes long.
pub async fn remove(pod_dir: PathBuf) -> Result<(), VolumeError> {
    let directory = pod_dir.clone();
    let removed = tokio::task::spawn_blocking(move || tear_down(&directory)).await;
    removed.unwrap_or_else(|lost| Err(VolumeError::io(&pod_dir)(lost.into())))
}

/// Without a table nothing is removed: who knows what is mounted there.
fn tear_down_by(
    table: impl Fn() -> Result<MountTable, VolumeError>,
    pod_dir: &Path,
) -> Result<(), VolumeError> {
    let real = match pod_dir.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(VolumeError::io(pod_dir))?,
    };
    let table = table()?;
    // All before the first: what is mounted in a mount is shared by that mount.
    table.below(&real).into_iter().try_for_each(mount_table::isolate)?;
    table.below(&real).into_iter().try_for_each(mount_table::detach)?;
    removal::remove(&real).map_err(VolumeError::io(&real))
}

#[cfg(test)]
mod tests;
