//! `fsGroup`: whom the files of a volume belong to, and what the group may do. Directories pass the
//! group on to what is made in them.

use std::{
    fs::{DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

/// What the group may do with a volume that it can only read.
const READ: u32 = 0o440;
const READ_WRITE: u32 = 0o660;
/// What it needs in a directory, and the bit that passes the group on.
const ENTER: u32 = 0o2110;

/// Whom a file belongs to, if not to root.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

impl From<Option<u32>> for Owner {
    fn from(group: Option<u32>) -> Self {
        Self { user: None, group }
    }
}

/// Makes a directory that containers may write to, with its final owner and mode before anybody can
/// see it under its name. One that exists is left as it is: its content is the containers'.
pub(super) fn writable_directory(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // No volume has such a name. It may be left by a kubelet that died here.
    let fresh = path.with_file_name(format!(".{name}.new"));
    super::removal::remove(&fresh)?;
    DirBuilder::new().mode(0o700).create(&fresh)?;
    give(&File::open(&fresh)?, directory_mode(mode, group, READ_WRITE), group.into())?;
    std::fs::rename(&fresh, path)
}

/// Lets the group write to a directory that is there. What is in it stays as it is.
pub(super) fn share_directory(path: &Path, group: u32) -> io::Result<()> {
    let directory = File::open(path)?;
    let metadata = directory.metadata()?;
    let mode = metadata.mode() & 0o7777;
    let shared = directory_mode(mode, Some(group), READ_WRITE);
    if metadata.gid() == group && mode == shared {
        return Ok(());
    }
    give(&directory, shared, Some(group).into())
}

/// The mode of a writable directory of the group.
pub(super) fn writable_mode(mode: u32, group: Option<u32>) -> u32 {
    directory_mode(mode, group, READ_WRITE)
}

/// Makes a directory of a volume that containers only read.
pub(super) fn readable_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    give(&File::open(path)?, directory_mode(0o755, group, READ), group.into())
}

/// Makes a file of a volume that containers only read. It has its owner and mode before its content.
pub(super) fn readable_file(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Owner,
) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    give(&file, if owner.group.is_some() { mode | READ } else { mode }, owner)?;
    file.write_all(content)
}

fn directory_mode(mode: u32, group: Option<u32>, rights: u32) -> u32 {
    if group.is_some() { mode | rights | ENTER } else { mode }
}

/// The owner first: the kernel takes some bits of the mode away with it.
fn give(file: &File, mode: u32, owner: Owner) -> io::Result<()> {
    let Owner { user, group } = owner;
    if user.is_some() || group.is_some() {
        fchown(file, user, group)?;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &Path, mode: u32) {
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode, "{}", path.display());
    }

    #[test]
    fn modes_are_exact_and_the_group_gets_its_rights() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        // Without root one may give files to the own group only.
        let group = Some(root.path().metadata().unwrap().gid());
        writable_directory(&path("w"), 0o777, None).unwrap();
        check(&path("w"), 0o777);
        writable_directory(&path("gw"), 0o755, group).unwrap();
        check(&path("gw"), 0o2775);
        readable_directory(&path("gr"), group).unwrap();
        check(&path("gr"), 0o2755);
        readable_file(&path("f"), b"x", 0o400, Owner::default()).unwrap();
        check(&path("f"), 0o400);
        readable_file(&path("gf"), b"x", 0o600, group.into()).unwrap();
        check(&path("gf"), 0o640);
    }

    #[test]
    fn a_directory_that_is_there_is_shared_with_the_group() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("v");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        share_directory(&path, path.metadata().unwrap().gid()).unwrap();
        check(&path, 0o2775);
    }

    #[test]
    fn a_directory_that_exists_keeps_what_its_containers_made_of_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("v");
        std::fs::create_dir(root.path().join(".v.new")).unwrap();
        writable_directory(&path, 0o777, None).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        writable_directory(&path, 0o777, None).unwrap();
        check(&path, 0o700);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
