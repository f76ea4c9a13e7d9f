//! Removing a tree of files that a container may have filled with anything: symbolic links are not
//! followed, what is mounted in it is not entered, and no depth is too deep.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat2, renameat2},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

/// Removes a directory, a file or a link; what does not exist is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_entry(&parent, name, empty),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes one entry; `clear` empties a directory that is not empty.
fn remove_entry(
    parent: &OwnedFd,
    name: &OsStr,
    clear: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    clear(&enter(parent, name)?)?;
    Ok(unlinkat(parent, name, UnlinkatFlags::RemoveDir)?)
}

/// Opens a directory, unless it is a mount point.
fn enter(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok(openat2(parent, name, how)?)
}

/// Empties a directory. Directories deeper down are moved up into it before they are emptied in their
/// turn, so that neither the stack nor the number of open files grows with the depth.
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut moved = 0;
    loop {
        let names = entries(top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            remove_entry(top, &name, |child| flatten(top, child, &mut moved))?;
        }
    }
}

/// Removes the files of `child` and moves its directories to `top`.
fn flatten(top: &OwnedFd, child: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    for name in entries(child)? {
        match unlinkat(child, &*name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR) => lift(top, child, &name, moved)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn lift(top: &OwnedFd, child: &OwnedFd, name: &OsString, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let fresh = format!(".removed-{moved}");
        let done = renameat2(child, &**name, top, fresh.as_str(), RenameFlags::RENAME_NOREPLACE);
        match done {
            Err(Errno::EEXIST) => {}
            other => return Ok(other?),
        }
    }
}

fn entries(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let listed = std::fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    listed.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn everything_in_a_tree_goes_and_nothing_that_links_lead_to() {
        let root = tempfile::tempdir().unwrap();
        let (tree, kept) = (root.path().join("tree"), root.path().join("kept"));
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.join("a/.removed-1")).unwrap();
        fs::create_dir_all(tree.join(".removed-1/x")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        remove(&tree).unwrap();
        remove(&tree).unwrap();
        remove(&tree.join("below/nothing")).unwrap();
        assert!(!tree.exists() && kept.join("file").exists());
    }

    #[test]
    fn a_link_is_removed_and_not_its_target() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        fs::create_dir(root.path().join("target")).unwrap();
        symlink("target", &link).unwrap();
        remove(&link).unwrap();
        assert!(link.symlink_metadata().is_err() && root.path().join("target").is_dir());
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut at = open(&tree, flags, Mode::empty()).unwrap();
        for _ in 0..5000 {
            nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = nix::fcntl::openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }
}
