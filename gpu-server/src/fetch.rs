//! Results, from the login node to the volume.

use std::{io, path::Path};

use crate::{
    remote::{Remote, RemoteFile},
    ssh::Error,
};

/// How many of the files that could not be fetched are named.
const NAMED: usize = 5;

/// Fetches the files of a directory below `top` that match. What does not fit on the volume is left out and told, the rest is
/// there: the small ones come first.
pub(crate) async fn fetch(
    remote: &Remote,
    top: &str,
    directory: &str,
    patterns: &[String],
    to: &Path,
) -> Result<Option<String>, Error> {
    let mut files = remote.list(top, directory, patterns).await?;
    files.sort_by_key(|file| file.size);
    let mut missing = Vec::new();
    for file in files {
        match remote.download(directory, &file, &to.join(&file.path)).await {
            Ok(()) => {}
            Err(Error::Local { source, .. }) if is_full(&source) => {
                make_room(to, &file);
                missing.push(file);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(told(&missing))
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [FileTooLarge, QuotaExceeded, StorageFull].contains(&error.kind())
}

/// Removes what has come of a file that does not fit, so that it is not in the way of others.
fn make_room(to: &Path, file: &RemoteFile) {
    let path = to.join(&file.path);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(Ok(entries)) = path.parent().map(std::fs::read_dir) else { return };
    for entry in entries.flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        if other.strip_prefix(&name).is_some_and(|rest| rest.ends_with(".partial")) {
            // What can't be removed is in the way of others, which says so.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn told(missing: &[RemoteFile]) -> Option<String> {
    let size: u64 = missing.iter().map(|file| file.size).sum();
    let names: Vec<_> = missing.iter().take(NAMED).map(|file| file.path.as_str()).collect();
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ");
    let message = format!(
        "the volume has no room for {names}{more} ({size} bytes), which stay on the cluster until the job is deleted"
    );
    (!missing.is_empty()).then_some(message)
}
