//! Files that are changed all at once: the visible names are links through `..data`, which is replaced by one rename
//! (Kubernetes' atomic writer). What else is in the directory is not the writer's: places of mounts, and those of a
//! `subPath` that nothing was at.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use super::{
    VolumeError,
    ownership::{self, Owner},
    removal,
};

const DATA: &str = "..data";

/// A file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    /// Whom it belongs to, if that is not root.
    pub(super) user: Option<u32>,
}

impl File {
    /// One of root's.
    pub(super) fn new(content: Vec<u8>, mode: u32) -> Self {
        Self { content, mode, user: None }
    }
}

/// Files by their paths in the volume.
pub(super) type Payload = BTreeMap<String, File>;

/// Where files are shown, and to whom.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    /// It exists.
    pub(super) directory: &'a Path,
    /// Who may read them.
    pub(super) group: Option<u32>,
    /// Where something else is mounted in it.
    pub(super) nested: BTreeSet<String>,
}

/// Files by what their paths mean: `a//b` is `a/b`.
type Files<'a> = BTreeMap<PathBuf, &'a File>;

/// Makes the directory show exactly these files.
pub(super) fn write(payload: &Payload, target: &Target<'_>) -> Result<(), VolumeError> {
    let files = files(payload)?;
    let directory = target.directory;
    if !is_current(&files, target) {
        let fresh = format!("..{}", uniquely_named());
        let made = make(&files, target, &fresh);
        if made.is_err() {
            // The error to tell of is the first one.
            let _ = removal::remove(&directory.join(&fresh));
        }
        made?;
        hide(&files, directory)?;
    }
    sweep(directory)
}

fn files(payload: &Payload) -> Result<Files<'_>, VolumeError> {
    let known = |(path, file)| Ok((inside(path)?, file));
    payload.iter().map(known).collect()
}

fn inside(path: &String) -> Result<PathBuf, VolumeError> {
    let leads_out = |path: &Path| path.components().any(|it| !matches!(it, Component::Normal(_)));
    if path.is_empty() || leads_out(Path::new(path)) {
        return Err(VolumeError::Escapes(path.clone()));
    }
    Ok(Path::new(path).components().collect())
}

fn uniquely_named() -> String {
    api_types::jiff::Timestamp::now().as_nanosecond().to_string()
}

/// Whether a name is one of the writer's for a directory of files.
fn is_own(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix(".."));
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_current(files: &Files<'_>, target: &Target<'_>) -> bool {
    let data = target.directory.join(DATA);
    let same = |(path, file): (&PathBuf, &&File)| {
        std::fs::read(data.join(path)).is_ok_and(|found| found == file.content)
    };
    let (wanted, links) = (tops(files), links(target.directory));
    data.read_link().is_ok_and(|own| is_own(own.as_os_str()))
        && files.iter().all(same)
        && count_files(&data) == files.len()
        && links.is_subset(&wanted)
        && wanted.difference(&links).all(|name| is_taken(name, target))
}

/// How many files are below a directory of the writer's.
fn count_files(directory: &Path) -> usize {
    let (mut open, mut files) = (vec![directory.to_owned()], 0);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => files += 1,
            }
        }
    }
    files
}

/// Writes the files beside the old ones, and replaces these. New names are linked before: they are all there at once.
fn make(files: &Files<'_>, target: &Target<'_>, fresh: &str) -> Result<(), VolumeError> {
    write_files(&target.directory.join(fresh), files, target.group)?;
    show(files, target)?;
    replace_link(target.directory, fresh)
}

fn write_files(directory: &Path, files: &Files<'_>, group: Option<u32>) -> Result<(), VolumeError> {
    ownership::readable_directory(directory, group).map_err(VolumeError::io(directory))?;
    for (name, File { content, mode, user }) in files {
        let path = directory.join(name);
        for parent in parents(name) {
            let parent = directory.join(parent);
            ownership::readable_directory(&parent, group).map_err(VolumeError::io(&parent))?;
        }
        let owner = Owner { user: *user, group };
        ownership::readable_file(&path, content, *mode, owner).map_err(VolumeError::io(&path))?;
    }
    Ok(())
}

/// The directories that a file is in, the outermost first.
fn parents(name: &Path) -> Vec<&Path> {
    let mut parents: Vec<&Path> = name.ancestors().skip(1).collect();
    parents.retain(|parent| !parent.as_os_str().is_empty());
    parents.reverse();
    parents
}

fn replace_link(directory: &Path, target: &str) -> Result<(), VolumeError> {
    let (link, temporary) = (directory.join(DATA), directory.join("..data_tmp"));
    // Left by a kubelet that died here.
    let _ = std::fs::remove_file(&temporary);
    symlink(target, &temporary).map_err(VolumeError::io(&temporary))?;
    std::fs::rename(&temporary, &link).map_err(VolumeError::io(&link))
}

/// Links the visible names. A place that a `subPath` made when there was no such file gives way to it.
fn show(files: &Files<'_>, target: &Target<'_>) -> Result<(), VolumeError> {
    let links = links(target.directory);
    for name in tops(files).difference(&links).filter(|name| !is_taken(name, target)) {
        let link = target.directory.join(name);
        removal::remove(&link).map_err(VolumeError::io(&link))?;
        symlink(Path::new(DATA).join(name), &link).map_err(VolumeError::io(&link))?;
    }
    Ok(())
}

/// Whether something else is mounted there: without its place it would no longer be.
fn is_taken(name: &OsStr, target: &Target<'_>) -> bool {
    let first = |path: &String| Path::new(path).iter().next() == Some(name);
    target.nested.iter().any(first)
        && target.directory.join(name).symlink_metadata().is_ok_and(|found| !found.is_symlink())
}

/// Removes the visible names of what is no longer there.
fn hide(files: &Files<'_>, directory: &Path) -> Result<(), VolumeError> {
    for name in links(directory).difference(&tops(files)) {
        let path = directory.join(name);
        std::fs::remove_file(&path).map_err(VolumeError::io(&path))?;
    }
    Ok(())
}

/// Removes the files that are not shown: the old ones, and those of a kubelet that died before it did so.
fn sweep(directory: &Path) -> Result<(), VolumeError> {
    let shown = directory.join(DATA).read_link().unwrap_or_default();
    let is_old = |name: &OsString| is_own(name) && *name != shown.as_os_str();
    for old in names(directory).filter(is_old) {
        let old = directory.join(old);
        removal::remove(&old).map_err(VolumeError::io(&old))?;
    }
    Ok(())
}

/// The first part of each path.
fn tops(files: &Files<'_>) -> BTreeSet<OsString> {
    files.keys().filter_map(|path| path.iter().next()).map(OsStr::to_owned).collect()
}

/// The visible names that the writer made.
fn links(directory: &Path) -> BTreeSet<OsString> {
    let leads_to = |name: &OsString| directory.join(name).read_link().ok();
    let is_link =
        |name: &OsString| leads_to(name).is_some_and(|to| to == Path::new(DATA).join(name));
    names(directory).filter(is_link).collect()
}

fn names(directory: &Path) -> impl Iterator<Item = OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name())
}
