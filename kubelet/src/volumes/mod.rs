//! A pod's volumes: one file per source, in the list [`SOURCES`].
//!
//! A source makes a directory or file on the node; the containers get it as a bind mount. Setting up
//! is repeated before each start of a container and must therefore be idempotent.

mod config_map;
mod downward_api;
mod empty_dir;
mod host_path;
mod payload;
mod secret;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use api_types::api::core::v1::{Container, Pod, Volume};
use async_trait::async_trait;
use kube::Client;

use crate::{pod::spec, runtime::Mount};

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
    pub client: &'a Client,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("pod_dir", &self.pod_dir).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The directory of a volume that lives with the pod.
    fn directory(&self, plugin: &str, volume: &Volume) -> PathBuf {
        self.pod_dir.join("volumes").join(format!("kubernetes.io~{plugin}")).join(&volume.name)
    }
}

/// A kind of volume.
#[async_trait]
trait Source: Sync {
    /// Whether the volume is of this kind.
    fn claims(&self, volume: &Volume) -> bool;
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

/// Makes all volumes of a pod; gives the path of each by name.
pub async fn set_up(context: Context<'_>) -> Result<BTreeMap<String, PathBuf>, SetUpError> {
    let mut paths = BTreeMap::new();
    let volumes = spec::spec(context.pod).and_then(|spec| spec.volumes.as_deref());
    for volume in volumes.unwrap_or_default() {
        let path = set_up_one(volume, context).await;
        let path = path.map_err(|source| SetUpError { volume: volume.name.clone(), source })?;
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

async fn set_up_one(volume: &Volume, context: Context<'_>) -> Result<PathBuf, VolumeError> {
    match SOURCES.iter().find(|source| source.claims(volume)) {
        Some(source) => source.set_up(volume, context).await,
        None => Err(VolumeError::Unsupported(volume.name.clone())),
    }
}

/// The bind mounts of a container. Missing directories named by `subPath` are made.
pub fn mounts(
    container: &Container,
    paths: &BTreeMap<String, PathBuf>,
    variables: &[(String, String)],
) -> Result<Vec<Mount>, VolumeError> {
    container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| {
            let path =
                paths.get(&mount.name).ok_or_else(|| VolumeError::Unknown(mount.name.clone()))?;
            let expression =
                mount.sub_path_expr.as_deref().map(|e| crate::container::env::expand(e, variables));
            let sub_path = expression.or_else(|| mount.sub_path.clone()).unwrap_or_default();
            Ok(Mount {
                source: inside(path, &sub_path)?.to_string_lossy().into_owned(),
                target: mount.mount_path.clone(),
                read_only: mount.read_only.unwrap_or_default(),
            })
        })
        .collect()
}

/// The path below a volume; made as a directory if nothing is there.
fn inside(volume: &Path, sub_path: &str) -> Result<PathBuf, VolumeError> {
    if sub_path.is_empty() {
        return Ok(volume.to_owned());
    }
    let relative = Path::new(sub_path);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(VolumeError::Escapes(sub_path.to_owned()));
    }
    let path = volume.join(relative);
    if !path.exists() {
        std::fs::create_dir_all(&path).map_err(VolumeError::io(&path))?;
    }
    contained(volume, &path, sub_path)
}

/// A symbolic link inside the volume must not lead out of it.
fn contained(volume: &Path, path: &Path, sub_path: &str) -> Result<PathBuf, VolumeError> {
    let real = path.canonicalize().map_err(VolumeError::io(path))?;
    let root = volume.canonicalize().map_err(VolumeError::io(volume))?;
    if real.starts_with(root) { Ok(real) } else { Err(VolumeError::Escapes(sub_path.to_owned())) }
}

/// Removes everything of a pod from the node: unmounts what is mounted below its directory first.
/// Data of `hostPath` volumes is not there and stays.
pub fn tear_down(pod_dir: &Path) -> Result<(), VolumeError> {
    for mounted in mounted_below(pod_dir) {
        nix::mount::umount2(&mounted, nix::mount::MntFlags::MNT_DETACH)
            .map_err(|errno| VolumeError::io(&mounted)(errno.into()))?;
    }
    match std::fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(VolumeError::io(pod_dir)),
    }
}

/// Mount points below a directory, deepest first.
fn mounted_below(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let targets = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = targets.filter(|target| target.starts_with(directory)).collect();
    below.reverse();
    below
}

#[cfg(test)]
mod tests;
