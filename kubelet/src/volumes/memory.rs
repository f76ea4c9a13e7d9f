//! File systems in memory, for what must not be written to disk.

use std::path::Path;

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};

use super::{VolumeError, directories, mount_table::MountTable};

/// Mounts one at a directory, which is made; one that is mounted already stays, with its content.
pub(super) fn mount_at(path: &Path, options: &str) -> Result<(), VolumeError> {
    directories::private_directory(path).map_err(VolumeError::io(path))?;
    let real = path.canonicalize().map_err(VolumeError::io(path))?;
    if MountTable::read()?.has(&real) {
        return Ok(());
    }
    let tmpfs =
        |options: &str| mount(Some("tmpfs"), &real, Some("tmpfs"), MsFlags::empty(), Some(options));
    let mounted = match tmpfs(&format!("{options},noswap")) {
        // Kernels know that since 6.4.
        Err(Errno::EINVAL) => tmpfs(options),
        other => other,
    };
    mounted.map_err(|errno| VolumeError::io(path)(errno.into()))
}

/// The mount options of a file system with this mode, for this group, of at most so many bytes.
pub(super) fn options(mode: u32, group: Option<u32>, size: Option<u64>) -> String {
    let group = group.map(|group| format!(",gid={group}")).unwrap_or_default();
    let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
    format!("mode={mode:o}{group}{size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_mode_group_and_size() {
        assert_eq!(options(0o755, None, None), "mode=755");
        assert_eq!(options(0o2777, Some(7), Some(1 << 20)), "mode=2777,gid=7,size=1048576");
    }
}
