//! What a kind of volume is: each has a file of its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use api_types::{
    Quantity,
    api::core::v1::{Pod, Volume},
};
use async_trait::async_trait;

use super::{directories, error::VolumeError, nested, writer::Target};
use crate::{objects::Objects, spec, tokens::Tokens};

/// A kind of volume.
#[async_trait]
pub(super) trait Source: Sync {
    /// Whether the volume is of this kind.
    fn claims(&self, volume: &Volume) -> bool;
    /// Whether containers can only read it, whatever they ask for: what they wrote would be lost.
    fn read_only(&self) -> bool {
        false
    }
    /// Makes the volume; gives the path on the node.
    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError>;
}

/// A pod whose volumes are set up, and what a source may use for it.
#[derive(Clone, Copy)]
pub struct PodContext<'a> {
    /// The pod the volume is for.
    pub pod: &'a Pod,
    /// The pod's address.
    pub pod_ip: &'a str,
    /// The node's address.
    pub host_ip: &'a str,
    /// What the node has for pods.
    pub allocatable: &'a BTreeMap<String, Quantity>,
    /// The pod's directory on the node.
    pub pod_dir: &'a Path,
    /// For what the API server has.
    pub objects: &'a Objects,
    /// For tokens of its service account.
    pub tokens: &'a Tokens,
}

impl std::fmt::Debug for PodContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodContext").field("pod_dir", &self.pod_dir).finish_non_exhaustive()
    }
}

impl PodContext<'_> {
    /// The directory of a volume that lives with the pod.
    pub(super) fn directory(&self, plugin: &str, volume: &Volume) -> PathBuf {
        directories::of_volume(self.pod_dir, plugin, volume)
    }

    /// A directory that shows the files of a volume.
    pub(super) fn target<'d>(&self, volume: &Volume, directory: &'d Path) -> Target<'d> {
        let nested = nested::places(self.pod, &volume.name);
        Target { directory, group: self.fs_group(), nested }
    }

    /// The group that the files of its volumes belong to.
    pub(super) fn fs_group(&self) -> Option<u32> {
        let security = spec::spec(self.pod)?.security_context.as_ref()?;
        u32::try_from(security.fs_group?).ok()
    }
}
