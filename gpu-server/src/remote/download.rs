//! Files, from the login node.

use std::{
    fs::{FileTimes, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom},
};

use super::{
    list::RemoteFile,
    node::{Remote, sftp_error, transfer_error},
};
use crate::ssh::Error;

/// What is held of a file at a time, besides what is on its way.
const BUFFER: usize = 64 << 10;

impl Remote {
    /// Fetches `file`, which lies in the directory `directory`, to the path `to`, whose parents are made. It is never there
    /// in part; what an earlier try has fetched of the same version is not fetched again.
    ///
    /// # Errors
    /// [`Error::Local`] if this side has no room; what is there already is kept.
    pub async fn download(
        &self,
        directory: &str,
        file: &RemoteFile,
        to: &Path,
    ) -> Result<(), Error> {
        if fs::metadata(to).await.is_ok_and(|there| is_version(&there, file)) {
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).await.map_err(writing(parent))?;
        }
        let partial = partial(to, file);
        let opened = File::options().create(true).append(true).open(&partial).await;
        let mut local = opened.map_err(writing(&partial))?;
        let there = local.metadata().await.map_err(writing(&partial))?.len();
        if there > file.size {
            local.set_len(0).await.map_err(writing(&partial))?;
        }
        let offset = if there > file.size { 0 } else { there };
        let from = format!("{directory}/{}", file.path);
        self.append(&from, offset, file.size, &mut local, &partial).await?;
        // By this time a later try knows the version.
        let modified = UNIX_EPOCH + Duration::from_secs(file.modified.into());
        let local = local.into_std().await;
        let finish = move || {
            local.sync_data()?;
            local.set_times(FileTimes::new().set_modified(modified))
        };
        let finished = tokio::task::spawn_blocking(finish).await.map_err(std::io::Error::other);
        finished.and_then(|finished| finished).map_err(writing(&partial))?;
        fs::rename(&partial, to).await.map_err(writing(to))
    }

    /// Appends what is between `offset` and `size`.
    async fn append(
        &self,
        from: &str,
        mut offset: u64,
        size: u64,
        local: &mut File,
        path: &Path,
    ) -> Result<(), Error> {
        let opened = self.sftp.open(from).await;
        let mut remote = opened.map_err(|error| sftp_error(from, &error))?;
        let sought = remote.seek(SeekFrom::Start(offset)).await;
        sought.map_err(|error| transfer_error(from, &error))?;
        let mut buffer = vec![0; BUFFER];
        while offset < size {
            let most = buffer.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            let read = remote.read(&mut buffer[..most]).await;
            let count = read.map_err(|error| transfer_error(from, &error))?;
            if count == 0 {
                return Err(Error::failed(from, "has become shorter while it was fetched"));
            }
            local.write_all(&buffer[..count]).await.map_err(writing(path))?;
            offset += count as u64;
        }
        local.flush().await.map_err(writing(path))
    }
}

/// Named after the version, so that no other one is continued.
fn partial(to: &Path, file: &RemoteFile) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:x}-{:x}.partial", file.modified, file.size));
    to.with_file_name(name)
}

fn is_version(there: &Metadata, file: &RemoteFile) -> bool {
    there.is_file() && there.len() == file.size && there.mtime() == i64::from(file.modified)
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    Error::local(format!("writing {}", path.display()))
}
