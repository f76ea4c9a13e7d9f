//! Where the store's bytes are: a file, or what a test puts in its place.

use std::{
    any, fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use redb::{Builder, Database, DatabaseError, StorageBackend, StorageError, backends::FileBackend};

use super::unsynced::Unsynced;

/// The memory for pages of the file; the API server's cache holds the objects already.
const PAGE_CACHE: usize = 32 << 20;

/// How much of the file to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A file that was closed in order is as it was left. One that was not is checked by redb anyway.
    Closed,
    /// Nothing: each page is read and its checksum verified.
    Nothing,
    /// Not even the system's memory of it: a write to the disk has failed, and what the disk did not take
    /// may still be there in memory, as if it had.
    OnlyTheDisk,
}

type Open = dyn Fn(&mut Builder, Trust) -> Result<Database, DatabaseError> + Send + Sync;

/// Opens the database, again after each fault.
pub(super) struct Medium {
    name: PathBuf,
    /// The type of what it is on, by which tests know whether that is synced.
    backend: &'static str,
    open: Box<Open>,
}

impl Medium {
    pub(super) fn file(path: &Path) -> Self {
        let path = path.to_owned();
        let name = path.clone();
        let open = move |trust| {
            let backend = file_backend(&path, trust)?;
            sync_directory(&path).map_err(StorageError::Io)?;
            Ok(backend)
        };
        Self::new(name, open)
    }

    /// A file that need not outlive a power cut.
    pub(super) fn unsynced_file(path: &Path) -> Self {
        let path = path.to_owned();
        let name = path.clone();
        Self::new(name, move |trust| file_backend(&path, trust).map(Unsynced))
    }

    pub(super) fn backend<B: StorageBackend>(
        name: PathBuf,
        open: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move |_| open().map_err(|error| StorageError::Io(error).into()))
    }

    fn new<B: StorageBackend>(
        name: PathBuf,
        open: impl Fn(Trust) -> Result<B, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        let open = move |builder: &mut Builder, trust| builder.create_with_backend(open(trust)?);
        Self { name, backend: any::type_name::<B>(), open: Box::new(open) }
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn open(&self, trust: Trust) -> Result<Database, DatabaseError> {
        let mut builder = Database::builder();
        builder.set_cache_size(PAGE_CACHE).set_check_integrity_on_open(trust != Trust::Closed);
        let name = self.name.clone();
        builder.set_repair_callback(move |repair| {
            if repair.progress() == 0.0 {
                tracing::info!(path = %name.display(), "checking the whole store");
            }
        });
        (self.open)(&mut builder, trust)
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Medium").field(&self.name).field(&self.backend).finish()
    }
}

fn file_backend(path: &Path, trust: Trust) -> Result<FileBackend, DatabaseError> {
    FileBackend::new(open_file(path, trust).map_err(StorageError::Io)?)
}

/// The file is its owner's alone, for it holds the cluster's secrets.
fn open_file(path: &Path, trust: Trust) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if trust == Trust::OnlyTheDisk {
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(file)
}

/// Lest a new file be lost with all that was acknowledged.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
