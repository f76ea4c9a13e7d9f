//! Files, from the login node.

use std::{
    fs::{FileTimes, Metadata},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use nix::fcntl::OFlag;
use russh_sftp::client::fs::File as RemoteHandle;
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

/// How often a file is fetched anew that changes meanwhile.
const TRIES: usize = 5;

impl Remote {
    /// Fetches `file`, which lies in the directory `directory`, to the path `to`, whose parents are made. It is never there
    /// in part, nor with parts of two versions: what counts is what the open file says of itself, before and after, as what
    /// `file` says may be old. What an earlier try has fetched of the same version is not fetched again.
    ///
    /// # Errors
    /// [`Error::Local`] if this side has no room; what is there already is kept.
    pub async fn download(
        &self,
        directory: &str,
        file: &RemoteFile,
        to: &Path,
    ) -> Result<(), Error> {
        make_parents(to, &file.path).await?;
        let from = format!("{directory}/{}", file.path);
        for _ in 0..TRIES {
            if self.fetch_version(&from, to).await? {
                return Ok(());
            }
        }
        Err(Error::failed(from, "changes while it is fetched"))
    }

    /// Whether the version that was there is there still, and here.
    async fn fetch_version(&self, from: &str, to: &Path) -> Result<bool, Error> {
        let mut remote = self.open(from).await?;
        let version = version(from, &remote).await?;
        if fs::symlink_metadata(to).await.is_ok_and(|there| version.is(&there)) {
            return Ok(true);
        }
        let partial = partial(to, version);
        let mut options = File::options();
        options.create(true).write(true).truncate(false).custom_flags(OFlag::O_NOFOLLOW.bits());
        let mut local = options.open(&partial).await.map_err(writing(&partial))?;
        let there = local.metadata().await.map_err(writing(&partial))?.len();
        let offset = if there > version.size { 0 } else { there };
        copy(from, &mut remote, offset, version.size, &mut local, &partial).await?;
        let length = local.metadata().await.map_err(writing(&partial))?.len();
        if self::version(from, &remote).await? != version || length != version.size {
            fs::remove_file(&partial).await.map_err(writing(&partial))?;
            return Ok(false);
        }
        // By this time a later try knows the version.
        let modified = UNIX_EPOCH + Duration::from_secs(version.modified.into());
        let local = local.into_std().await;
        let finish = move || {
            local.sync_data()?;
            local.set_times(FileTimes::new().set_modified(modified))
        };
        let finished = tokio::task::spawn_blocking(finish).await.map_err(std::io::Error::other);
        finished.and_then(|finished| finished).map_err(writing(&partial))?;
        fs::rename(&partial, to).await.map_err(writing(to))?;
        Ok(true)
    }
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: u32,
}

impl Version {
    fn is(self, there: &Metadata) -> bool {
        there.is_file() && there.len() == self.size && there.mtime() == i64::from(self.modified)
    }
}

async fn version(from: &str, file: &RemoteHandle) -> Result<Version, Error> {
    let attributes = file.metadata().await.map_err(|error| sftp_error(from, &error))?;
    Ok(Version { size: attributes.size.unwrap_or(0), modified: attributes.mtime.unwrap_or(0) })
}

/// Copies what is between `offset` and `size`, or less, if the file has become shorter.
async fn copy(
    from: &str,
    remote: &mut RemoteHandle,
    mut offset: u64,
    size: u64,
    local: &mut File,
    path: &Path,
) -> Result<(), Error> {
    let sought = remote.seek(SeekFrom::Start(offset)).await;
    sought.map_err(|error| transfer_error(from, &error))?;
    local.seek(SeekFrom::Start(offset)).await.map_err(writing(path))?;
    let mut buffer = vec![0; BUFFER];
    while offset < size {
        let most = buffer.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        let read = remote.read(&mut buffer[..most]).await;
        let count = read.map_err(|error| transfer_error(from, &error))?;
        if count == 0 {
            break;
        }
        local.write_all(&buffer[..count]).await.map_err(writing(path))?;
        offset += count as u64;
    }
    local.flush().await.map_err(writing(path))
}

/// Makes the directories above `to` that are those of `path`, which the login node has named: none of them may lead
/// elsewhere, as whoever writes into the volume may have put a link there.
async fn make_parents(to: &Path, path: &str) -> Result<(), Error> {
    let parts: Vec<_> = Path::new(path).components().collect();
    if !parts.iter().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::failed(format!("{path:?}"), "is not the path of a result"));
    }
    let mut parents: Vec<_> = to.ancestors().skip(1).take(parts.len()).collect();
    parents.reverse();
    let Some((top, below)) = parents.split_first() else { return Ok(()) };
    fs::create_dir_all(top).await.map_err(writing(top))?;
    for parent in below {
        match fs::create_dir(parent).await {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(writing(parent))?,
        }
        let there = fs::symlink_metadata(parent).await.map_err(writing(parent))?;
        if !there.is_dir() {
            let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(writing(parent)(error));
        }
    }
    Ok(())
}

/// Named after the version, so that no other one is continued.
fn partial(to: &Path, version: Version) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:x}-{:x}.partial", version.modified, version.size));
    to.with_file_name(name)
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    Error::local(format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_written_outside_of_the_volume_whatever_the_login_node_says() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        let parents = async |path: &str| make_parents(&results.join(path), path).await;
        parents("a/b/c").await.unwrap();
        parents("a/b/c").await.unwrap();
        assert!(results.join("a/b").is_dir());
        for path in ["../x", "a/../../x", "/etc/x", "a/./x/.."] {
            assert!(parents(path).await.is_err(), "{path}");
        }
        std::os::unix::fs::symlink(folder.path(), results.join("out")).unwrap();
        assert!(parents("out/new/x").await.is_err());
        assert!(!folder.path().join("new").exists());
    }
}
