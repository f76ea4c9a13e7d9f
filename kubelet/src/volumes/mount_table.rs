//! What is mounted where, as the kernel says in `/proc/self/mountinfo`, and how it is unmounted.
//! A table that cannot be read or understood is an error: it tells nothing about what is mounted.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

use super::VolumeError;

const TABLE: &str = "/proc/self/mountinfo";
/// The mount point's place in a line.
const TARGET_FIELD: usize = 4;

/// The mount points of this process's mount namespace.
#[derive(Debug)]
pub(super) struct MountTable {
    targets: Vec<PathBuf>,
}

impl MountTable {
    /// The table at this moment.
    pub(super) fn read() -> Result<Self, VolumeError> {
        let table = std::fs::read(TABLE).and_then(|text| Self::parse(&text));
        table.map_err(VolumeError::io(Path::new(TABLE)))
    }

    fn parse(text: &[u8]) -> io::Result<Self> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let targets: Option<Vec<PathBuf>> = lines.map(target).collect();
        // There is always a root.
        let complete = targets.filter(|targets| targets.iter().any(|t| t == Path::new("/")));
        let targets = complete.ok_or_else(|| io::Error::other("not a table of mounts"))?;
        Ok(Self { targets })
    }

    /// Whether something is mounted exactly there. The path has no symbolic links.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.targets.iter().any(|target| target == path)
    }

    /// Mount points at and below a directory, the deepest first. The path has no symbolic links.
    pub(super) fn below(&self, directory: &Path) -> Vec<&Path> {
        let targets = self.targets.iter().map(PathBuf::as_path);
        let mut below: Vec<&Path> = targets.filter(|t| t.starts_with(directory)).collect();
        below.sort_by_key(|target| std::cmp::Reverse(target.components().count()));
        below
    }
}

fn target(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(TARGET_FIELD)?;
    Some(PathBuf::from(OsString::from_vec(unescape(field))))
}

/// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, after)) = rest.split_first() {
        match octal(after).filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

/// Unmounts what is mounted last at a path, and what is mounted in it.
pub(super) fn detach(target: &Path) -> Result<(), VolumeError> {
    isolate(target)?;
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    no_mount_is_fine(target, umount2(target, flags))
}

/// A mount may share with its origin what is mounted in it: unmounting it here would unmount it there
/// too. From now on it does not.
pub(super) fn isolate(target: &Path) -> Result<(), VolumeError> {
    let alone = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    no_mount_is_fine(target, mount(None::<&str>, target, None::<&str>, alone, None::<&str>))
}

fn no_mount_is_fine(target: &Path, result: nix::Result<()>) -> Result<(), VolumeError> {
    match result {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(VolumeError::io(target)(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";

    fn table(lines: &str) -> MountTable {
        MountTable::parse(format!("{ROOT}{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn mounts_below_a_directory_come_deepest_first() {
        let table = table(
            "30 22 0:5 / /pods/a rw - tmpfs tmpfs rw\n\
             31 30 0:6 / /pods/a/v/x rw master:3 - tmpfs tmpfs rw\n\
             32 22 0:7 / /pods/ab rw - tmpfs tmpfs rw\n\
             33 30 8:1 /d /pods/a/v rw - ext4 /dev/sda1 rw\n",
        );
        let expected = ["/pods/a/v/x", "/pods/a/v", "/pods/a"].map(Path::new);
        assert_eq!(table.below(Path::new("/pods/a")), expected);
        assert!(table.has(Path::new("/pods/ab")) && !table.has(Path::new("/pods")));
    }

    #[test]
    fn names_with_spaces_are_found() {
        let table = table("30 22 0:5 / /pods/a/my\\040disk\\134040 rw - tmpfs tmpfs rw\n");
        assert_eq!(table.below(Path::new("/pods/a")), [Path::new("/pods/a/my disk\\040")]);
    }

    #[test]
    fn a_table_without_a_root_tells_nothing() {
        assert!(MountTable::parse(b"").is_err());
        assert!(MountTable::parse(b"30 22 0:5\n").is_err());
    }
}
