//! `emptyDir`: a directory that lives as long as the pod, on disk or in memory.

use std::path::{Path, PathBuf};

use api_machinery::quantity::Quantity;
use api_types::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use async_trait::async_trait;

use super::{PodContext, VolumeError, directories, memory, ownership, source::Source};
use crate::spec;

const PLUGIN: &str = "empty-dir";
/// Whoever the containers run as, they may use it.
const MODE: u32 = 0o777;

pub(super) struct EmptyDir;

#[async_trait]
impl Source for EmptyDir {
    fn claims(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError> {
        let source = volume.empty_dir.clone().unwrap_or_default();
        let (path, group) = (context.directory(PLUGIN, volume), context.fs_group());
        if in_memory(&source) {
            let mode = ownership::writable_mode(MODE, group);
            memory::mount_at(&path, &memory::options(mode, group, size_limit(&source)))?;
        } else {
            let parent = path.parent().unwrap_or(&path);
            directories::private_directory(parent).map_err(VolumeError::io(parent))?;
            ownership::writable_directory(&path, MODE, group).map_err(VolumeError::io(&path))?;
        }
        Ok(path)
    }
}

fn in_memory(source: &EmptyDirVolumeSource) -> bool {
    source.medium.as_deref() == Some("Memory")
}

/// None if there is no limit, which zero means too.
fn size_limit(source: &EmptyDirVolumeSource) -> Option<u64> {
    let limit: Quantity = source.size_limit.as_ref()?.0.parse().ok()?;
    u64::try_from(limit.value()).ok().filter(|limit| *limit > 0)
}

/// A volume on disk that may not grow without limit. The kernel limits those in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// The volume's name.
    pub(crate) volume: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) limit: u64,
    /// The limit as the pod's spec has it.
    pub(crate) text: String,
}

/// The limited volumes of a pod.
pub(crate) fn limited(pod: &Pod, pod_dir: &Path) -> Vec<Limited> {
    let volumes = spec::spec(pod).and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let on_disk = volumes.iter().filter_map(|volume| Some((volume, volume.empty_dir.as_ref()?)));
    on_disk
        .filter(|(_, source)| !in_memory(source))
        .filter_map(|(volume, source)| {
            Some(Limited {
                volume: volume.name.clone(),
                path: directories::of_volume(pod_dir, PLUGIN, volume),
                limit: size_limit(source)?,
                text: source.size_limit.as_ref()?.0.clone(),
            })
        })
        .collect()
}
