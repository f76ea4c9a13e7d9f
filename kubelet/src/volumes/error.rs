//! What may go wrong with a volume.

use std::path::{Path, PathBuf};

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
    /// A claim has no volume yet.
    #[error("persistentvolumeclaim {0:?} is not bound")]
    Unbound(String),
    /// A claim is to go, and no pod may start to use it.
    #[error("can't start pod because PVC {0} is being deleted")]
    Going(String),
    /// A volume cannot be used on this node.
    #[error("volume {0:?} cannot be used on this node: node affinity does not match")]
    Elsewhere(String),
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
    /// The pod's service account has no token to give.
    #[error("failed to fetch token")]
    Token(#[source] Box<kube::Error>),
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
    pub(super) fn fetch(name: &str, source: kube::Error) -> Self {
        Self::Fetch { name: name.to_owned(), source: Box::new(source) }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
