//! A pod's volumes: one file per source, in the list [`SOURCES`].
//!
//! A source makes a directory or file on the node; the containers get it as a bind mount. Setting up
//! is repeated before each start of a container and must therefore be idempotent. What a container may
//! have written is never trusted: no link in it is followed to a place outside.

mod config_map;
mod downward_api;
pub(crate) mod empty_dir;
mod host_path;
mod memory;
mod mount_table;
mod ownership;
mod payload;
mod removal;
mod secret;
mod sub_path;
pub(crate) mod usage;

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use api_types::api::core::v1::{Container, Pod, Volume, VolumeMount};
use async_trait::async_trait;

use self::mount_table::MountTable;
use crate::{
    objects::Objects,
    runtime::{Mount, Propagation},
    spec,
};

/// For the kubelet's own directories: what containers see of them is mounted, and nobody else of the
/// node has to.
const PRIVATE: u32 = 0o750;

/// Why a volume cannot be given to a pod.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// An object that the volume shows does not exist.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that the volume shows does not exist.
    #[error("references non-existent {kind} key: {key}")]
    NoKey {
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// The path of a `hostPath` is not of the type that was asked for.
    #[error("hostPath type check failed: {path} is not {wanted}")]
    WrongType {
        /// The path on the node.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// A path leads out of the volume.
    #[error("must not contain '..': {0}")]
    Escapes(String),
    /// A symbolic link leads out of the volume.
    #[error("subpath {sub_path:?} not within volume path {volume:?}")]
    LeadsOut {
        /// The path in the volume.
        sub_path: String,
        /// The volume's path on the node.
        volume: PathBuf,
    },
    /// The volume has no source, or one that is not supported.
    #[error("volume {0:?} has no supported source")]
    Unsupported(String),
    /// A container mounts a volume that the pod does not have.
    #[error("volume {0:?} is not in the pod")]
    Unknown(String),
    /// A downward API item names a field that cannot be given.
    #[error("cannot resolve field")]
    Field(#[from] crate::container::env::EnvError),
    /// The API server did not answer.
    #[error("cannot fetch {name:?}")]
    Fetch {
        /// The object.
        name: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// The node's file system refused.
    #[error("cannot prepare {path}")]
    Io {
        /// The path on the node.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl VolumeError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What a source may use.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The pod the volume is for.
    pub pod: &'a Pod,
    /// The pod's address.
    pub pod_ip: &'a str,
    /// The node's address.
    pub host_ip: &'a str,
    /// The pod's directory on the node.
    pub pod_dir: &'a Path,
    /// For what the API server has.
    pub objects: &'a Objects,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("pod_dir", &self.pod_dir).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The directory of a volume that lives with the pod.
    fn directory(&self, plugin: &str, volume: &Volume) -> PathBuf {
        directory(self.pod_dir, plugin, volume)
    }

    /// The group that the files of its volumes belong to.
    fn fs_group(&self) -> Option<u32> {
        let security = spec::spec(self.pod)?.security_context.as_ref()?;
        u32::try_from(security.fs_group?).ok()
    }
}

/// Where the volumes of a pod are: those of a source in a directory of its name.
const VOLUMES: &str = "volumes";
/// Where the parts of volumes are that containers see.
const PARTS: &str = "volume-subpaths";

fn directory(pod_dir: &Path, plugin: &str, volume: &Volume) -> PathBuf {
    pod_dir.join(VOLUMES).join(format!("kubernetes.io~{plugin}")).join(&volume.name)
}

/// Makes a directory of the kubelet's own, and those above it.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(path)
}

/// Makes the directory that those of the pods are in, closed to the node's users.
pub(crate) fn prepare(pods: &Path) -> io::Result<()> {
    private_directory(pods)?;
    std::fs::set_permissions(pods, Permissions::from_mode(PRIVATE))
}

/// A kind of volume.
#[async_trait]
trait Source: Sync {
    /// Whether the volume is of this kind.
    fn claims(&self, volume: &Volume) -> bool;
    /// Whether containers can only read it, whatever they ask for: what they wrote would be lost.
    fn read_only(&self) -> bool {
        false
    }
    /// Makes the volume; gives the path on the node.
    async fn set_up(&self, volume: &Volume, context: Context<'_>) -> Result<PathBuf, VolumeError>;
}

const SOURCES: [&dyn Source; 5] = [
    &host_path::HostPath,
    &empty_dir::EmptyDir,
    &config_map::ConfigMapVolume,
    &secret::SecretVolume,
    &downward_api::DownwardApi,
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
pub async fn set_up(context: Context<'_>) -> Result<Volumes, SetUpError> {
    let mut prepared = Volumes::new();
    let volumes = spec::spec(context.pod).and_then(|spec| spec.volumes.as_deref());
    for volume in volumes.unwrap_or_default() {
        let made = set_up_one(volume, context).await;
        let made = made.map_err(|source| SetUpError { volume: volume.name.clone(), source })?;
        prepared.insert(volume.name.clone(), made);
    }
    Ok(prepared)
}

async fn set_up_one(volume: &Volume, context: Context<'_>) -> Result<Prepared, VolumeError> {
    let source = SOURCES.iter().find(|source| source.claims(volume));
    let source = source.ok_or_else(|| VolumeError::Unsupported(volume.name.clone()))?;
    let path = source.set_up(volume, context).await?;
    Ok(Prepared { path, read_only: source.read_only() })
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
