//! Where to look on the host.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};

use super::io::Number;
use crate::runtime::ImageStore;

/// Where the kernel shows what is used.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// Where the kubelet keeps files: the file system that pods share with the node.
    pub root: PathBuf,
    /// Where images are, if that is known.
    pub images: Option<ImageStore>,
}

impl Host {
    /// This host.
    pub fn new(root: &Path) -> Self {
        let (proc, cgroup) = ("/proc".into(), "/sys/fs/cgroup".into());
        Self { proc, cgroup, root: root.to_owned(), images: None }
    }

    pub(super) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.proc.join(file)).ok()
    }
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its device.
    pub device: Number,
    /// Its size in bytes.
    pub capacity: u64,
    /// Bytes that are free for everybody.
    pub available: u64,
    /// Bytes that are used.
    pub used: u64,
    /// How many files there may be.
    pub inodes: u64,
    /// How many more there may be.
    pub inodes_free: u64,
}

impl FileSystem {
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let stat = nix::sys::statvfs::statvfs(directory).ok()?;
        let unit = stat.fragment_size();
        let device = fs::metadata(directory).ok()?.dev();
        let number = |part: u64| u32::try_from(part).unwrap_or_default();
        Some(Self {
            device: (number(major(device)), number(minor(device))),
            capacity: stat.blocks() * unit,
            available: stat.blocks_available() * unit,
            used: stat.blocks().saturating_sub(stat.blocks_free()) * unit,
            inodes: stat.files(),
            inodes_free: stat.files_free(),
        })
    }
}
