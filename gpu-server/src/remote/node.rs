//! One connection to the login node, for commands and files.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use russh_sftp::{
    client::{Config, SftpSession, error::Error as SftpError, fs::File},
    protocol::{FileAttributes, FileType, OpenFlags, StatusCode},
};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    time::timeout,
};
use uuid::Uuid;

use super::{directory::JobDirectory, quote::quote};
use crate::ssh::{Error, Exit, Output, Session, Target};

/// For commands that have little to do.
const RUN_LIMIT: Duration = Duration::from_secs(90);
/// Until SFTP is there.
const SFTP_LIMIT: Duration = Duration::from_secs(30);
/// As many questions are on their way at a time.
const AT_A_TIME: usize = 32;
/// In the directory of a job: for it, nothing is submitted any more.
pub(crate) const REMOVED: &str = "removed";
/// The exit code of a script that others keep from its work.
const BUSY: u32 = 75;
/// Where a script's own output begins: what the user's shell says at its start comes before.
const BEGIN: &str = "--- minik8s ---\n";

/// The login node. After an [`Error::Unreachable`] another one is to be connected.
#[derive(Debug)]
pub struct Remote {
    session: Session,
    pub(super) sftp: Sftp,
}

/// For its `Debug`.
pub(super) struct Sftp(SftpSession);

impl Remote {
    /// Connects, logs in, and asks for SFTP.
    pub async fn connect(target: &Target) -> Result<Self, Error> {
        let session = Session::connect(target).await?;
        let opened = timeout(SFTP_LIMIT, Self::with_sftp(session, target)).await;
        let silent = |_| Error::Unreachable(format!("SFTP at {} does not answer", target.host));
        opened.map_err(silent)?
    }

    async fn with_sftp(session: Session, target: &Target) -> Result<Self, Error> {
        let channel = session.sftp_channel().await?;
        let opened = SftpSession::new_with_config(channel, config()).await;
        let sftp =
            opened.map_err(|error| sftp_error(format!("SFTP at {}", target.host), &error))?;
        Ok(Self { session, sftp: Sftp(sftp) })
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Takes leave.
    pub async fn close(&self) {
        self.session.close().await;
    }

    /// The user's home directory.
    pub async fn home(&self) -> Result<String, Error> {
        self.sftp.canonicalize(".").await.map_err(|error| sftp_error("the home directory", &error))
    }

    /// Runs a script for `sh`, whose words have been [quoted](super::quote), without input.
    pub async fn run(&self, script: &str) -> Result<Output, Error> {
        self.run_for(script, RUN_LIMIT).await
    }

    /// As [`run`](Self::run), for at most as long as `limit`. What it started may go on after that.
    pub async fn run_for(&self, script: &str, limit: Duration) -> Result<Output, Error> {
        // The script is not a word of the command, as the user's shell may have other rules than sh. In braces it is
        // read as a whole before it begins, so that nothing in it can read the rest of it as its input.
        let begin = BEGIN.trim_end();
        let stdin =
            format!("{{ echo '{begin}'; echo '{begin}' >&2\n{script}\nexit\n}} </dev/null\n");
        let output = self.session.run("exec sh", stdin.as_bytes(), limit).await?;
        own(output)
    }

    /// Makes the file `path` with `content`, in place of what is there. It is never there in part.
    pub async fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let partial = partial(path);
        self.write(&partial, &mut &*content, mode).await?;
        self.rename(&partial, path).await
    }

    /// At most `most` bytes of the file `path` from `offset` on: none at its end, nor if there is no such file.
    pub async fn read(&self, path: &str, offset: u64, most: usize) -> Result<Vec<u8>, Error> {
        if !self.exists(path).await? {
            return Ok(Vec::new());
        }
        let mut file = self.open(path).await?;
        let mut content = Vec::new();
        let read = async {
            file.seek(std::io::SeekFrom::Start(offset)).await?;
            (&mut file).take(most as u64).read_to_end(&mut content).await
        };
        read.await.map_err(|error| transfer_error(path, &error))?;
        Ok(content)
    }

    /// The sizes of files, asked for together; none, where there is no regular file.
    pub(crate) async fn sizes(&self, paths: &[String]) -> Result<Vec<Option<u64>>, Error> {
        let size = async |path: &String| match self.sftp.metadata(path).await {
            Ok(attributes) if attributes.file_type() == FileType::File => Ok(attributes.size),
            Ok(_) => Ok(None),
            Err(error) => match sftp_error(path, &error) {
                Error::Failed { .. } => Ok(None),
                lost => Err(lost),
            },
        };
        stream::iter(paths).map(size).buffered(AT_A_TIME).try_collect().await
    }

    /// Sees to it that nothing is compiled or submitted for a job any more: when it returns, nothing goes on that would not
    /// see the mark.
    pub async fn mark_removed(&self, job: &JobDirectory) -> Result<(), Error> {
        let path = quote(&job.to_string())?;
        let script = format!(
            "cd -- {path} 2>/dev/null || exit 0
             : >{REMOVED} || exit 1
             [ ! -e lock ] || flock -w 60 lock true || exit {BUSY}
             for task in tasks/*/; do
                 [ ! -d \"$task\" ] || flock -w 60 \"$task/submit.lock\" true || exit {BUSY}
             done"
        );
        let output = self.run(&script).await?;
        if output.exit == Exit::Code(BUSY) {
            let what = format!("a task of {job} is being compiled or submitted");
            return Err(Error::Unreachable(what));
        }
        output.text(&format!("marking {job}")).map(drop)
    }

    /// Removes all that a job has on the login node: its directory, and nothing else. The mark goes last.
    pub async fn remove(&self, job: &JobDirectory) -> Result<(), Error> {
        let path = quote(&job.to_string())?;
        // A job may have left directories that say no to their own owner. One in place of a link is not gone into.
        let script = format!(
            "clear() {{ [ -h {path} ] || [ ! -d {path} ] ||
                find {path} -mindepth 1 -maxdepth 1 ! -name {REMOVED} -exec rm -rf -- {{}} +; }}
             clear 2>/dev/null || {{ chmod -R u+rwX -- {path}; clear; }}
             rm -rf -- {path}"
        );
        self.run(&script).await?.text(&format!("removing {job}")).map(drop)
    }

    /// Opens a file to be read. Opening a pipe would keep all others waiting, too.
    pub(super) async fn open(&self, path: &str) -> Result<File, Error> {
        let attributes = self.sftp.metadata(path).await;
        let attributes = attributes.map_err(|error| sftp_error(path, &error))?;
        if attributes.file_type() != FileType::File {
            return Err(Error::failed(path, "is not a regular file"));
        }
        self.sftp.open(path).await.map_err(|error| sftp_error(path, &error))
    }

    pub(crate) async fn exists(&self, path: &str) -> Result<bool, Error> {
        self.sftp.try_exists(path).await.map_err(|error| sftp_error(path, &error))
    }

    /// By `mv`, as SFTP's own does not replace what is there.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let script = format!("mv -fT -- {} {}", quote(from)?, quote(to)?);
        self.run(&script).await?.text(&format!("renaming {from:?}")).map(drop)
    }

    /// Writes a file from its beginning.
    pub(super) async fn write(
        &self,
        path: &str,
        content: &mut (impl tokio::io::AsyncRead + Unpin),
        mode: u32,
    ) -> Result<(), Error> {
        // What is in it may be a Secret's.
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let private = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        let created = self.sftp.open_with_flags_and_attributes(path, flags, private).await;
        let mut file = created.map_err(|error| sftp_error(path, &error))?;
        let written = async {
            tokio::io::copy(content, &mut file).await?;
            file.shutdown().await
        };
        written.await.map_err(|error| transfer_error(path, &error))?;
        self.set_mode(path, mode).await
    }

    pub(super) async fn set_mode(&self, path: &str, mode: u32) -> Result<(), Error> {
        let attributes =
            FileAttributes { permissions: Some(mode & 0o777), ..FileAttributes::empty() };
        let set = self.sftp.set_metadata(path, attributes).await;
        set.map_err(|error| sftp_error(path, &error))
    }
}

/// A name beside `path` for what is not whole yet. Nobody else has it: not a server that was given up, nor another try.
pub(super) fn partial(path: &str) -> String {
    format!("{path}.{}.partial", Uuid::new_v4().simple())
}

/// Without what the user's shell said before the script began.
fn own(mut output: Output) -> Result<Output, Error> {
    for stream in [&mut output.stdout, &mut output.stderr] {
        let found = stream.windows(BEGIN.len()).position(|part| part == BEGIN.as_bytes());
        let Some(at) = found else {
            let words = String::from_utf8_lossy(stream).trim().to_owned();
            let what = "the login shell";
            return Err(Error::failed(what, format!("does not run sh, but says {words:?}")));
        };
        stream.drain(..at + BEGIN.len());
    }
    Ok(output)
}

impl std::ops::Deref for Sftp {
    type Target = SftpSession;

    fn deref(&self) -> &SftpSession {
        &self.0
    }
}

impl std::fmt::Debug for Sftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sftp")
    }
}

/// What is on its way at a time bounds what is held in memory.
fn config() -> Config {
    Config {
        max_packet_len: 64 << 10,
        max_concurrent_reads: 8,
        max_concurrent_writes: 8,
        request_timeout_secs: 30,
        ..Config::default()
    }
}

/// What the other side said about `what`, unless it says nothing any more.
pub(super) fn sftp_error(what: impl Into<String>, error: &SftpError) -> Error {
    let lost = [StatusCode::NoConnection, StatusCode::ConnectionLost];
    match error {
        SftpError::Status(status) if !lost.contains(&status.status_code) => {
            Error::failed(what, status.error_message.as_str())
        }
        SftpError::Limited(limit) => Error::failed(what, limit.as_str()),
        other => Error::Unreachable(format!("{}: {other}", what.into())),
    }
}

/// The same, of reading and writing.
pub(super) fn transfer_error(what: &str, error: &std::io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<SftpError>()) {
        Some(inner) => sftp_error(what, inner),
        None => Error::failed(what, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stdout: &str, stderr: &str) -> Result<Output, Error> {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        own(Output { exit: Exit::Code(0), stdout, stderr })
    }

    #[test]
    fn what_the_shell_says_at_its_start_is_not_the_scripts() {
        let told = output("welcome\n--- minik8s ---\n7\n", "stty: no\n--- minik8s ---\n").unwrap();
        assert_eq!((told.stdout.as_slice(), told.stderr.as_slice()), (&b"7\n"[..], &b""[..]));
        let closed = output("This account is closed.\n", "").unwrap_err();
        assert!(closed.to_string().contains("This account is closed."), "{closed}");
    }
}
