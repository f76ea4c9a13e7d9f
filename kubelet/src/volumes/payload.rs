//! Files made from an object's keys, changed all at once: the visible names are links through
//! `..data`, which is replaced by one rename (Kubernetes' atomic writer).

use std::{
    collections::BTreeMap,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use api_types::api::core::v1::KeyToPath;

use super::{
    VolumeError, directories, memory,
    ownership::{self, Owner},
    removal,
};

const DATA: &str = "..data";
pub(super) const DEFAULT_MODE: i32 = 0o644;
/// Of the volume itself.
const DIRECTORY_MODE: u32 = 0o755;

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

/// Which keys of an object are shown, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys<'a> {
    /// All of them, if it names none.
    pub(super) items: Option<&'a [KeyToPath]>,
    /// Of files that have none of their own.
    pub(super) mode: Option<i32>,
    /// Whether what is not there is left out.
    pub(super) optional: Option<bool>,
}

/// The files of an object's keys.
pub(super) fn select(
    data: BTreeMap<String, Vec<u8>>,
    keys: Keys<'_>,
    kind: &'static str,
) -> Result<Payload, VolumeError> {
    let Keys { items, mode, optional } = keys;
    let usual = permissions(mode.unwrap_or(DEFAULT_MODE));
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, value)| (key, File::new(value, usual))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let mode = item.mode.map_or(usual, permissions);
                payload.insert(item.path.clone(), File::new(value.clone(), mode));
            }
            None if optional == Some(true) => {}
            None => return Err(VolumeError::NoKey { kind, key: item.key.clone() }),
        }
    }
    Ok(payload)
}

pub(super) fn permissions(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o777
}

/// What must not be written to disk.
pub(super) fn in_memory(
    directory: &Path,
    payload: &Payload,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    memory::mount_at(directory, &memory::options(DIRECTORY_MODE, None, None))?;
    write(directory, payload, group)
}

/// What may be written to disk.
pub(super) fn on_disk(
    directory: &Path,
    payload: &Payload,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    let parent = directory.parent().unwrap_or(directory);
    directories::private_directory(parent).map_err(VolumeError::io(parent))?;
    ownership::readable_directory(directory, group).map_err(VolumeError::io(directory))?;
    write(directory, payload, group)
}

/// Makes the directory, which exists, show exactly these files, readable by the group.
pub(super) fn write(
    directory: &Path,
    payload: &Payload,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    let escapes = payload.keys().find(|path| leads_out(path));
    if let Some(path) = escapes {
        return Err(VolumeError::Escapes(path.clone()));
    }
    if current(directory, payload) {
        return Ok(());
    }
    let old = std::fs::read_link(directory.join(DATA)).ok();
    let fresh = format!("..{}", uniquely_named());
    write_files(&directory.join(&fresh), payload, group)?;
    replace_link(directory, &fresh)?;
    show(directory, payload)?;
    if let Some(old) = old.filter(|old| is_own(old)) {
        let old = directory.join(old);
        removal::remove(&old).map_err(VolumeError::io(&old))?;
    }
    Ok(())
}

/// Whether a link's target is a directory of the writer's: a container that could write to the volume
/// may have made the link lead anywhere.
fn is_own(target: &Path) -> bool {
    let mut parts = target.components();
    let first = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let own = first.is_some_and(|name| name.starts_with("..") && name.len() > 2 && name != DATA);
    own && parts.next().is_none()
}

fn leads_out(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    path.is_empty() || parts.any(|part| !matches!(part, Component::Normal(_)))
}

fn uniquely_named() -> String {
    api_types::jiff::Timestamp::now().as_nanosecond().to_string()
}

fn current(directory: &Path, payload: &Payload) -> bool {
    let data = directory.join(DATA);
    let same = |(path, file): (&String, &File)| {
        std::fs::read(data.join(path)).is_ok_and(|found| found == file.content)
    };
    data.exists()
        && payload.iter().all(same)
        && count_files(&data) == payload.len()
        && visible(directory).len() == tops(payload).len()
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

fn write_files(directory: &Path, payload: &Payload, group: Option<u32>) -> Result<(), VolumeError> {
    ownership::readable_directory(directory, group).map_err(VolumeError::io(directory))?;
    for (name, File { content, mode, user }) in payload {
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
fn parents(name: &str) -> Vec<&Path> {
    let mut parents: Vec<&Path> = Path::new(name).ancestors().skip(1).collect();
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

/// Links the visible names, and removes those that are no longer in the payload.
fn show(directory: &Path, payload: &Payload) -> Result<(), VolumeError> {
    let wanted = tops(payload);
    for name in visible(directory).into_iter().filter(|name| !wanted.contains(name)) {
        let path = directory.join(name);
        std::fs::remove_file(&path).map_err(VolumeError::io(&path))?;
    }
    for name in wanted {
        let link = directory.join(&name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(&name), &link).map_err(VolumeError::io(&link))?;
        }
    }
    Ok(())
}

/// The first part of each path.
fn tops(payload: &Payload) -> Vec<PathBuf> {
    let mut tops: Vec<PathBuf> = payload
        .keys()
        .filter_map(|path| Path::new(path).components().next())
        .map(|part| PathBuf::from(part.as_os_str()))
        .collect();
    tops.dedup();
    tops
}

fn visible(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| PathBuf::from(entry.file_name()));
    names.filter(|name| !name.to_string_lossy().starts_with("..")).collect()
}
