//! Results, from the login node to the volume.

use std::{io, path::Path};

use crate::{
    remote::{Remote, RemoteFile},
    ssh::Error,
};

/// How many of the files that could not be fetched are named.
const NAMED: usize = 5;

/// Files that are not here.
#[derive(Debug, Default)]
struct Missing {
    /// There is no room for these.
    full: Vec<RemoteFile>,
    /// These cannot be read or written.
    failed: Vec<Error>,
}

/// Fetches the files of a directory below `top` that match. What does not fit on the volume is left out and told, the rest is
/// there: the small ones come first. So is, with `last`, what cannot be fetched for any other reason that stays; else that
/// is an error once all others are here.
pub(crate) async fn fetch(
    remote: &Remote,
    top: &str,
    directory: &str,
    patterns: &[String],
    to: &Path,
    last: bool,
) -> Result<Option<String>, Error> {
    let mut missing = Missing::default();
    match remote.list(top, directory, patterns).await {
        Ok(mut files) => {
            files.sort_by_key(|file| file.size);
            for file in files {
                let fetched = remote.download(directory, &file, &to.join(&file.path)).await;
                missing.add(file, fetched, to)?;
            }
        }
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => missing.failed.push(error),
    }
    missing.told(last)
}

impl Missing {
    fn add(
        &mut self,
        file: RemoteFile,
        fetched: Result<(), Error>,
        to: &Path,
    ) -> Result<(), Error> {
        match fetched {
            Ok(()) => {}
            Err(Error::Local { source, .. }) if is_full(&source) => {
                make_room(to, &file);
                self.full.push(file);
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => self.failed.push(error),
        }
        Ok(())
    }

    fn told(mut self, last: bool) -> Result<Option<String>, Error> {
        if !last && !self.failed.is_empty() {
            return Err(self.failed.swap_remove(0));
        }
        let size: u64 = self.full.iter().map(|file| file.size).sum();
        let room = named(self.full.iter().map(|file| file.path.clone())).map(|names| {
            format!("the volume has no room for {names} ({size} bytes), which stay on the cluster until the job is deleted")
        });
        let failed = named(self.failed.iter().map(ToString::to_string));
        let failed = failed.map(|errors| format!("not fetched: {errors}"));
        let told: Vec<_> = room.into_iter().chain(failed).collect();
        Ok(Some(told.join("; ")).filter(|told| !told.is_empty()))
    }
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
        if other.strip_prefix(&name).is_some_and(is_partial) {
            // What can't be removed is in the way of others, which says so.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a name ends as that of a version which is not whole: `.<hex>-<hex>.partial`.
fn is_partial(rest: &str) -> bool {
    let version = rest.strip_prefix('.').and_then(|rest| rest.strip_suffix(".partial"));
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    version.and_then(|version| version.split_once('-')).is_some_and(|(a, b)| hex(a) && hex(b))
}

/// The first ones, and how many there are besides.
fn named(all: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let count = all.len();
    let names = all.take(NAMED).collect::<Vec<_>>().join(", ");
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (count > 0).then(|| format!("{names}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> RemoteFile {
        RemoteFile { path: path.to_owned(), size: 7, modified: 0 }
    }

    #[test]
    fn what_cannot_be_fetched_is_in_nobodys_way_and_is_told_at_last() {
        let denied = || Err(Error::failed("a", "Permission denied"));
        let folder = tempfile::tempdir().unwrap();
        let mut missing = Missing::default();
        missing.add(file("a"), denied(), folder.path()).unwrap();
        assert!(missing.told(false).is_err(), "it may be of use to try again");
        let mut missing = Missing::default();
        missing.add(file("a"), denied(), folder.path()).unwrap();
        missing.add(file("b"), Ok(()), folder.path()).unwrap();
        assert_eq!(missing.told(true).unwrap().unwrap(), "not fetched: a: Permission denied");
        let mut missing = Missing::default();
        let lost = Err(Error::Unreachable("gone".to_owned()));
        assert!(missing.add(file("a"), lost, folder.path()).is_err());
        assert_eq!(missing.told(true).unwrap(), None);
    }

    #[test]
    fn only_what_we_have_begun_ourselves_is_removed_to_make_room() {
        assert!(is_partial(".65a1-ff.partial"));
        for other in ["-set.partial", ".partial", ".a-.partial", ".a-g.partial", ".a-b.partial.gz"]
        {
            assert!(!is_partial(other), "{other}");
        }
    }
}
