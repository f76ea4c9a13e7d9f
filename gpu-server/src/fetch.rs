//! Results, from the login node to the volume.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    remote::{Remote, RemoteFile, remove_partials, set_aside},
    ssh::Error,
};

/// How many of the files that could not be fetched are named.
const NAMED: usize = 5;

/// The file that is on its way, by the path that it will have here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Current(Arc<Mutex<PathBuf>>);

/// Files that are not here.
#[derive(Debug, Default)]
struct Missing {
    /// There is no room for these.
    full: Vec<RemoteFile>,
    /// These cannot be read or written.
    failed: Vec<Error>,
}

/// Where from, and where to.
#[derive(Debug)]
pub(crate) struct Way {
    /// The job's directory.
    pub(crate) top: String,
    /// The directories of the attempts at the task: that of this one is the last.
    pub(crate) attempts: Vec<String>,
    /// What is fetched.
    pub(crate) patterns: Vec<String>,
    /// Where the files of the last attempt are, and below which those of earlier ones are.
    pub(crate) to: PathBuf,
}

/// Fetches the files that match. What does not fit on the volume is left out and told, the rest is there: the small ones come
/// first. So is, with `last`, what cannot be fetched for any other reason that stays; else that is an error once all others
/// are here. What an earlier attempt has brought is not left among it.
pub(crate) async fn fetch(
    remote: &Remote,
    way: &Way,
    current: &Current,
    last: bool,
) -> Result<Option<String>, Error> {
    let Some((own, earlier)) = way.attempts.split_last() else { return Ok(None) };
    for (attempt, directory) in earlier.iter().enumerate() {
        let aside = way.to.join(format!("attempt-{attempt}"));
        let files = match remote.list(&way.top, directory, &way.patterns).await {
            Err(error) if error.is_transient() => return Err(error),
            files => files.unwrap_or_default(),
        };
        for file in files {
            let (from, to) = (way.to.join(&file.path), aside.join(&file.path));
            if let Err(error) = set_aside(&file, &from, &to).await {
                tracing::warn!(%error, "what an earlier attempt has brought stays");
            }
        }
    }
    bring(remote, way, own, current, last).await
}

async fn bring(
    remote: &Remote,
    Way { top, patterns, to, .. }: &Way,
    directory: &str,
    current: &Current,
    last: bool,
) -> Result<Option<String>, Error> {
    let mut missing = Missing::default();
    match remote.list(top, directory, patterns).await {
        Ok(mut files) => {
            files.sort_by_key(|file| file.size);
            for file in files {
                let path = to.join(&file.path);
                current.set(&path);
                let fetched = remote.download(directory, &file, &path).await;
                missing.add(file, fetched, to)?;
            }
        }
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => missing.failed.push(error),
    }
    missing.told(last)
}

impl Current {
    fn set(&self, path: &Path) {
        path.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Removes what is here of it. Nobody is at it any more, or will be.
    pub(crate) fn discard(&self) {
        remove_partials(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
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
                remove_partials(&to.join(&file.path));
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
}
