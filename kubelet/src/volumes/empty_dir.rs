//! `emptyDir`: a directory that lives as long as the pod, on disk or in memory.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use api_machinery::quantity::Quantity;
use api_types::api::core::v1::{EmptyDirVolumeSource, Volume};
use async_trait::async_trait;
use nix::mount::{MsFlags, mount};

use super::{Context, Source, VolumeError, mounted_below};

pub(super) struct EmptyDir;

#[async_trait]
impl Source for EmptyDir {
    fn claims(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    async fn set_up(&self, volume: &Volume, context: Context<'_>) -> Result<PathBuf, VolumeError> {
        let source = volume.empty_dir.clone().unwrap_or_default();
        let path = context.directory("empty-dir", volume);
        std::fs::create_dir_all(&path).map_err(VolumeError::io(&path))?;
        if source.medium.as_deref() == Some("Memory") && mounted_below(&path).is_empty() {
            mount_memory(&path, &source)?;
        }
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&path, mode).map_err(VolumeError::io(&path))?;
        Ok(path)
    }
}

fn mount_memory(path: &Path, source: &EmptyDirVolumeSource) -> Result<(), VolumeError> {
    let limit = source.size_limit.as_ref().and_then(|limit| limit.0.parse::<Quantity>().ok());
    let size = limit.map(|limit| format!("size={}", limit.value()));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), size.as_deref())
        .map_err(|errno| VolumeError::io(path)(errno.into()))
}
