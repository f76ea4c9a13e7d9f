//! Files made from an object's keys, shown in a directory in memory or on disk.

use std::collections::BTreeMap;

use api_types::api::core::v1::KeyToPath;

use super::{
    VolumeError, directories, memory, ownership, sub_path,
    writer::{self, Target},
};

pub(super) use super::writer::{File, Payload};

pub(super) const DEFAULT_MODE: i32 = 0o644;
/// Of the volume itself.
const DIRECTORY_MODE: u32 = 0o755;

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
pub(super) fn in_memory(payload: &Payload, target: &Target<'_>) -> Result<(), VolumeError> {
    memory::mount_at(target.directory, &memory::options(DIRECTORY_MODE, None, None))?;
    write(payload, target)
}

/// What may be written to disk.
pub(super) fn on_disk(payload: &Payload, target: &Target<'_>) -> Result<(), VolumeError> {
    let Target { directory, group, .. } = *target;
    let parent = directory.parent().unwrap_or(directory);
    directories::private_directory(parent).map_err(VolumeError::io(parent))?;
    ownership::readable_directory(directory, group).map_err(VolumeError::io(directory))?;
    write(payload, target)
}

/// What is mounted below a volume that can only be read has its place made for it (Kubernetes:
/// `MakeNestedMountpoints`).
fn write(payload: &Payload, target: &Target<'_>) -> Result<(), VolumeError> {
    writer::write(payload, target)?;
    target.nested.iter().try_for_each(|path| sub_path::make_place(target.directory, path))
}
