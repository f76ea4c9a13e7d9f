//! `subPath`: a path inside a volume, which containers may change at any time. It is opened step by
//! step without ever leaving the volume, and what was opened is mounted at a place of the kubelet's
//! own: the container gets that place, so nothing depends on the path any more.

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open as open_path, openat2},
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat},
};

use super::{
    VolumeError, directories,
    mount_table::{MountTable, detach},
};

/// Shows `sub_path` of a volume at `target`, in place of what was there.
pub(super) fn show(volume: &Path, sub_path: &str, target: &Path) -> Result<(), VolumeError> {
    let source = open(volume, sub_path)?;
    let is_directory = is_directory(&source).map_err(VolumeError::io(volume))?;
    clear(target)?;
    place(target, is_directory).map_err(VolumeError::io(target))?;
    let opened = format!("/proc/self/fd/{}", source.as_raw_fd());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(opened.as_str()), target, None::<&str>, flags, None::<&str>)
        .map_err(|errno| VolumeError::io(target)(errno.into()))
}

/// Makes a directory of a volume, unless something is there.
pub(super) fn make_place(volume: &Path, path: &str) -> Result<(), VolumeError> {
    open(volume, path).map(drop)
}

fn is_directory(opened: &OwnedFd) -> io::Result<bool> {
    let mode = SFlag::from_bits_truncate(fstat(opened)?.st_mode);
    Ok(mode & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// Removes what an earlier start left: a mount, and the directory or file below it.
fn clear(target: &Path) -> Result<(), VolumeError> {
    while target.symlink_metadata().is_ok() && MountTable::read()?.has(&real(target)?) {
        detach(target)?;
    }
    super::removal::remove(target).map_err(VolumeError::io(target))
}

fn real(path: &Path) -> Result<PathBuf, VolumeError> {
    path.canonicalize().map_err(VolumeError::io(path))
}

fn place(target: &Path, is_directory: bool) -> io::Result<()> {
    directories::private_directory(target.parent().unwrap_or(target))?;
    if is_directory { fs::create_dir(target) } else { fs::File::create_new(target).map(drop) }
}

/// Opens the path; missing directories are made, with the mode of the volume's own.
fn open(volume: &Path, sub_path: &str) -> Result<OwnedFd, VolumeError> {
    let names = names(sub_path)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open_path(volume, flags, Mode::empty());
    let root = root.map_err(|errno| VolumeError::io(volume)(errno.into()))?;
    let refused = |errno| match errno {
        // EXDEV: a link leads out. ELOOP: links lead nowhere.
        Errno::EXDEV | Errno::ELOOP => {
            VolumeError::LeadsOut { sub_path: sub_path.to_owned(), volume: volume.to_owned() }
        }
        other => VolumeError::io(&volume.join(sub_path))(other.into()),
    };
    match below(&root, &names) {
        Err(Errno::ENOENT) => make(volume, &root, &names).map_err(refused),
        other => other.map_err(refused),
    }
}

fn names(sub_path: &str) -> Result<PathBuf, VolumeError> {
    let mut names = PathBuf::new();
    for part in Path::new(sub_path).components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(VolumeError::Escapes(sub_path.to_owned())),
        }
    }
    Ok(if names.as_os_str().is_empty() { PathBuf::from(".") } else { names })
}

/// Opens what is there, wherever links inside the volume lead, but never outside.
fn below(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

fn make(volume: &Path, root: &OwnedFd, names: &Path) -> Result<OwnedFd, Errno> {
    let mode = fs::metadata(volume).map_or(0o755, |metadata| metadata.mode());
    let mode = Mode::from_bits_truncate(mode & 0o7777);
    let mut reached = PathBuf::new();
    let mut parent = below(root, Path::new("."))?;
    for name in names {
        reached.push(name);
        parent = match below(root, &reached) {
            Err(Errno::ENOENT) => make_one(root, &parent, name, &reached, mode)?,
            other => other?,
        };
    }
    Ok(parent)
}

/// The new directory is made in a directory that was opened inside the volume, and then opened itself.
fn make_one(
    root: &OwnedFd,
    parent: &OwnedFd,
    name: &OsStr,
    reached: &Path,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, mode) {
        Ok(()) => undo_umask(parent, name, mode)?,
        // Somebody else was faster, or a link leads to nothing; opening tells.
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    below(root, reached)
}

fn undo_umask(parent: &OwnedFd, name: &OsStr, mode: Mode) -> Result<(), Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    fchmod(&openat2(parent, name, how)?, mode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Volume {
        root: tempfile::TempDir,
    }

    impl Volume {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("v")).unwrap();
            fs::create_dir(root.path().join("outside")).unwrap();
            Self { root }
        }

        fn path(&self) -> PathBuf {
            self.root.path().join("v")
        }

        fn outside(&self) -> PathBuf {
            self.root.path().join("outside")
        }

        fn link(&self, name: &str, target: impl AsRef<Path>) {
            symlink(target, self.path().join(name)).unwrap();
        }

        fn open(&self, sub_path: &str) -> Result<OwnedFd, VolumeError> {
            open(&self.path(), sub_path)
        }

        fn nothing_outside(&self) {
            assert_eq!(fs::read_dir(self.outside()).unwrap().count(), 0);
        }
    }

    #[test]
    fn missing_directories_are_made_with_the_volumes_mode() {
        use std::os::unix::fs::PermissionsExt;
        let volume = Volume::new();
        fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o2777)).unwrap();
        volume.open("a/./b").unwrap();
        for made in ["a", "a/b"] {
            let mode = volume.path().join(made).metadata().unwrap().mode();
            assert_eq!(mode & 0o7777, 0o2777, "{made}");
        }
    }

    #[test]
    fn links_inside_the_volume_are_followed() {
        let volume = Volume::new();
        fs::create_dir(volume.path().join("data")).unwrap();
        fs::write(volume.path().join("data/key"), "x").unwrap();
        volume.link("key", "data/key");
        assert!(!is_directory(&volume.open("key").unwrap()).unwrap());
        volume.link("d", "data");
        volume.open("d/new").unwrap();
        assert!(volume.path().join("data/new").is_dir());
    }

    #[test]
    fn nothing_is_made_where_a_link_leads_out() {
        let volume = Volume::new();
        volume.link("absolute", volume.outside());
        volume.link("relative", "../outside");
        volume.link("dangling", "../outside/new");
        volume.link("itself", "itself");
        for way in ["absolute", "absolute/new", "relative/a/b", "dangling", "dangling/x", "itself"]
        {
            let found = volume.open(way);
            assert!(matches!(found, Err(VolumeError::LeadsOut { .. })), "{way}: {found:?}");
        }
        for way in ["../outside", "/etc", "a/../../outside"] {
            assert!(matches!(volume.open(way), Err(VolumeError::Escapes(_))), "{way}");
        }
        volume.nothing_outside();
    }

    /// A container that changes the path while it is looked at.
    #[test]
    fn nothing_is_made_outside_however_the_path_changes() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (volume, stop) = (Volume::new(), AtomicBool::new(false));
        let (way, aside) = (volume.path().join("way"), volume.path().join("aside"));
        symlink(volume.outside(), &aside).unwrap();
        fs::create_dir(&way).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (a, b) = (nix::fcntl::AT_FDCWD, nix::fcntl::AT_FDCWD);
                    let exchange = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                    nix::fcntl::renameat2(a, &way, b, &aside, exchange).unwrap();
                }
            });
            for turn in 0..2000 {
                // Both ends are fine, if only nothing is outside.
                let _ = volume.open(&format!("way/{turn}/new"));
            }
            stop.store(true, Ordering::Relaxed);
        });
        volume.nothing_outside();
    }
}
