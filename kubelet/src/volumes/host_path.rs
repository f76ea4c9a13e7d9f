//! `hostPath`: a path of the node, checked or made as its type says.

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use api_types::api::core::v1::Volume;
use async_trait::async_trait;

use super::{PodContext, VolumeError, source::Source};

pub(super) struct HostPath;

#[async_trait]
impl Source for HostPath {
    fn claims(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn set_up(&self, volume: &Volume, _: PodContext<'_>) -> Result<PathBuf, VolumeError> {
        let source = volume.host_path.clone().unwrap_or_default();
        let path = PathBuf::from(source.path);
        check(&path, source.type_.as_deref().unwrap_or_default())?;
        Ok(path)
    }
}

/// Checks a path of the node, or makes it, as its type says.
pub(super) fn check(path: &Path, kind: &str) -> Result<(), VolumeError> {
    let found = path.metadata().ok();
    let is = |test: fn(&std::fs::FileType) -> bool| {
        found.as_ref().is_some_and(|metadata| test(&metadata.file_type()))
    };
    let (holds, wanted) = match kind {
        // Docker's bind mounts need the path; its `-v` made a missing one a directory, so do we.
        "" | "DirectoryOrCreate" if found.is_none() => return make_directory(path),
        "FileOrCreate" if found.is_none() => return make_file(path),
        "" => return Ok(()),
        "Directory" | "DirectoryOrCreate" => (is(std::fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (is(std::fs::FileType::is_file), "a file"),
        "Socket" => (is(FileTypeExt::is_socket), "a socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "a character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "a block device"),
        _ => (false, "of a known type"),
    };
    if holds { Ok(()) } else { Err(VolumeError::WrongType { path: path.to_owned(), wanted }) }
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    std::fs::create_dir_all(path).map_err(VolumeError::io(path))?;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).map_err(VolumeError::io(path))
}

fn make_file(path: &Path) -> Result<(), VolumeError> {
    std::fs::File::create_new(path).map(drop).map_err(VolumeError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_paths_are_made_only_if_the_type_says_so() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert!(check(&path("a/b"), "DirectoryOrCreate").is_ok() && path("a/b").is_dir());
        assert!(check(&path("f"), "FileOrCreate").is_ok() && path("f").is_file());
        assert!(check(&path("none"), "Directory").is_err() && !path("none").exists());
        assert!(check(&path("f"), "Directory").is_err());
        assert!(check(&path("f"), "Socket").is_err());
        assert!(check(&path("f"), "").is_ok());
    }
}
