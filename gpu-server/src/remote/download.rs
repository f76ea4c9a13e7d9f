//! Files, from the login node.

use std::{
    fs::{FileTimes, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
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

/// Times of files are told in seconds, and clocks may differ by one.
const SETTLED: i64 = 2;
/// File systems take names of 255 bytes, and a partial file's has what tells its version besides.
const LONGEST_NAME: usize = 200;
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
        if fs::symlink_metadata(to).await.is_ok_and(|there| version.is_settled(&there)) {
            remove_partials(to);
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
        remove_partials(to);
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

    /// Whether a file that is here cannot be another version of the same size: it was fetched when the second in which it was
    /// written was over.
    fn is_settled(self, there: &Metadata) -> bool {
        self.is(there) && there.ctime() - there.mtime() >= SETTLED
    }
}

impl RemoteFile {
    /// Whether that is what is here.
    pub(crate) fn is(&self, there: &Metadata) -> bool {
        Version { size: self.size, modified: self.modified }.is(there)
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
    let parents = parents(to, path)?;
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

/// The directories above `to` that are those of `path`, from the top.
fn parents<'a>(to: &'a Path, path: &str) -> Result<Vec<&'a Path>, Error> {
    let parts: Vec<_> = Path::new(path).components().collect();
    if !parts.iter().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::failed(format!("{path:?}"), "is not the path of a result"));
    }
    let mut parents: Vec<_> = to.ancestors().skip(1).take(parts.len()).collect();
    parents.reverse();
    Ok(parents)
}

/// Moves a file, if it is as the login node has said, from `from` to `to`, which both end with its path.
pub(crate) async fn set_aside(file: &RemoteFile, from: &Path, to: &Path) -> Result<(), Error> {
    let below = parents(from, &file.path)?;
    for parent in below.into_iter().skip(1) {
        match fs::symlink_metadata(parent).await {
            Ok(there) if there.is_dir() => {}
            // Nothing is there, or something that is not ours.
            _ => return Ok(()),
        }
    }
    if !fs::symlink_metadata(from).await.is_ok_and(|there| file.is(&there)) {
        return Ok(());
    }
    make_parents(to, &file.path).await?;
    fs::rename(from, to).await.map_err(writing(to))
}

/// Named after the version, so that no other one is continued.
fn partial(to: &Path, version: Version) -> PathBuf {
    let version = format!(".{:x}-{:x}.partial", version.modified, version.size);
    to.with_file_name(stem(to) + &version)
}

/// How the names of all partial versions of a file begin.
fn stem(to: &Path) -> String {
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("{}.{:x}", &name[..name.floor_char_boundary(LONGEST_NAME)], hasher.finish())
}

/// Removes what has come of other versions of a file, or of one for which there is no room.
pub(crate) fn remove_partials(to: &Path) {
    let name = stem(to);
    let Some(Ok(entries)) = to.parent().map(std::fs::read_dir) else { return };
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

    #[test]
    fn only_what_we_have_begun_ourselves_is_removed_to_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let ours = ["a.65a1-ff.partial", "a.65a2-1.partial"];
        let others = [
            "a-set.partial",
            "a.partial",
            "a.a-.partial",
            "a.a-g.partial",
            "a.a-b.partial.gz",
            "ab.1-1.partial",
        ];
        for name in ours.iter().chain(&others) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        remove_partials(&folder.path().join("a"));
        let there = |name: &&str| folder.path().join(name).exists();
        assert!(others.iter().all(there) && !ours.iter().any(there));
    }

    #[test]
    fn a_long_name_has_a_partial_one_that_can_be_made() {
        let long = |last: &str| PathBuf::from(format!("/x/{}{last}", "é".repeat(126)));
        let [one, other] = ["a", "b"]
            .map(|last| partial(&long(last), Version { size: 1 << 40, modified: u32::MAX }));
        assert!(one.file_name().unwrap().len() <= 255, "{one:?}");
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn a_file_is_known_again_once_nothing_else_can_have_been_written_in_its_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let now = std::fs::symlink_metadata(&path).unwrap().mtime();
        let version = Version { size: 3, modified: u32::try_from(now).unwrap() };
        assert!(!version.is_settled(&std::fs::symlink_metadata(&path).unwrap()));
        let before = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap() - 60);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        let version = Version { modified: version.modified - 60, ..version };
        assert!(version.is_settled(&std::fs::symlink_metadata(&path).unwrap()));
        assert!(
            !Version { size: 4, ..version }.is_settled(&std::fs::symlink_metadata(&path).unwrap())
        );
    }

    #[tokio::test]
    async fn only_the_version_that_is_meant_is_set_aside_and_nothing_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (top, aside) = (folder.path().join("top"), folder.path().join("aside"));
        std::fs::create_dir_all(top.join("out")).unwrap();
        std::os::unix::fs::symlink("out", top.join("link")).unwrap();
        std::fs::write(top.join("out/a"), "abc").unwrap();
        let there = std::fs::symlink_metadata(top.join("out/a")).unwrap();
        let modified = u32::try_from(there.mtime()).unwrap();
        let file = |path: &str, size| RemoteFile { path: path.to_owned(), size, modified };
        for other in [file("out/a", 4), file("out/b", 3), file("link/a", 3)] {
            set_aside(&other, &top.join(&other.path), &aside.join(&other.path)).await.unwrap();
        }
        assert!(top.join("out/a").exists() && !aside.exists());
        let it = file("out/a", 3);
        set_aside(&it, &top.join(&it.path), &aside.join(&it.path)).await.unwrap();
        assert_eq!(std::fs::read_to_string(aside.join("out/a")).unwrap(), "abc");
    }
}
