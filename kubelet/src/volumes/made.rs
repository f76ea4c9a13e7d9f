//! Directories of this node that are claims' volumes: made here for the first pod, and taken away here. A mark beside each says
//! for which node it was made, so that nothing else is ever taken for one (`scripts/lib/leftovers.sh` goes by it, too).

use std::{
    io,
    path::{Path, PathBuf},
};

use api_types::api::core::v1::PersistentVolume;

use super::{ownership, removal};

/// Says who has made a volume, and that it was our controller.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const PROVISIONER: &str = "minik8s.io/host-path";
/// Whoever the containers run as, they may use it.
const MODE: u32 = 0o777;

/// Whether the volume is a directory that is to be made.
pub(super) fn is_to_be_made(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(PROVISIONED_BY)).is_some_and(|by| by == PROVISIONER)
}

/// Makes the directory for that node, unless it is there.
pub(super) fn make(path: &Path, node: &str, group: Option<u32>) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    // First: a kubelet that dies here makes the directory when it is back.
    std::fs::write(mark(path), format!("{node}\n"))?;
    ownership::writable_directory(path, MODE, group)
}

/// Removes the directory and what is in it; whether it was one that was made, or is gone.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    let mark = mark(path);
    let is_there = path.symlink_metadata().is_ok();
    if is_there && !mark.is_file() {
        return Ok(false);
    }
    if is_there {
        let parent = path.parent().unwrap_or(path);
        if parent.canonicalize()? != parent {
            return Err(io::Error::other("a symbolic link leads to it"));
        }
        removal::remove(path)?;
    }
    removal::remove(&mark)?;
    Ok(true)
}

/// No volume has such a name.
fn mark(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.made"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn what_is_made_can_be_used_by_everybody_and_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("volumes/pvc-1");
        make(&path, "n1", None).unwrap();
        assert_eq!(fs::read_to_string(mark(&path)).unwrap(), "n1\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o777);
        fs::write(path.join("file"), "x").unwrap();
        make(&path, "n1", None).unwrap();
        assert!(path.join("file").exists());
        assert!(remove(&path).unwrap());
        assert_eq!(fs::read_dir(root.path().join("volumes")).unwrap().count(), 0);
        assert!(remove(&path).unwrap(), "it is gone");
    }

    #[test]
    fn what_was_there_before_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("pvc-1");
        fs::create_dir(&path).unwrap();
        make(&path, "n1", None).unwrap();
        assert!(!remove(&path).unwrap());
        assert!(path.exists());
    }

    #[test]
    fn nothing_is_removed_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("volumes/pvc-1");
        make(&path, "n1", None).unwrap();
        symlink("volumes", root.path().join("link")).unwrap();
        remove(&root.path().join("link/pvc-1")).unwrap_err();
        assert!(path.exists());
    }
}
