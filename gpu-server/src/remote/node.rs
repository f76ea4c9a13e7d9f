//! One connection to the login node, for commands and files.

use std::time::Duration;

use russh_sftp::{
    client::{Config, SftpSession, error::Error as SftpError},
    protocol::{FileAttributes, StatusCode},
};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::{directory::JobDirectory, quote::quote};
use crate::ssh::{Error, Output, Session, Target};

/// For commands that have little to do.
const RUN_LIMIT: Duration = Duration::from_secs(90);
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
        let stdin = format!("{{ echo '{begin}'\n{script}\nexit\n}} </dev/null\n");
        let mut output = self.session.run("exec sh", stdin.as_bytes(), limit).await?;
        let found = output.stdout.windows(BEGIN.len()).position(|part| part == BEGIN.as_bytes());
        output.stdout.drain(..found.map_or(0, |at| at + BEGIN.len()));
        Ok(output)
    }

    /// Makes the file `path` with `content`, in place of what is there. It is never there in part.
    pub async fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let partial = format!("{path}.partial");
        self.write(&partial, &mut &*content, mode).await?;
        self.rename(&partial, path).await
    }

    /// At most `most` bytes of the file `path` from `offset` on: none at its end, nor if there is no such file.
    pub async fn read(&self, path: &str, offset: u64, most: usize) -> Result<Vec<u8>, Error> {
        let file = match self.sftp.open(path).await {
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => {
                return Ok(Vec::new());
            }
            other => other,
        };
        let mut file = file.map_err(|error| sftp_error(path, &error))?;
        let mut content = Vec::new();
        let read = async {
            file.seek(std::io::SeekFrom::Start(offset)).await?;
            (&mut file).take(most as u64).read_to_end(&mut content).await
        };
        read.await.map_err(|error| transfer_error(path, &error))?;
        Ok(content)
    }

    /// Removes all that a job has on the login node: its directory, and nothing else.
    pub async fn remove(&self, job: &JobDirectory) -> Result<(), Error> {
        let path = quote(&job.to_string())?;
        // A job may have left directories that say no to their own owner.
        let script = format!(
            "rm -rf -- {path} 2>/dev/null || {{ chmod -R u+rwX -- {path}; rm -rf -- {path}; }}"
        );
        self.run(&script).await?.text(&format!("removing {job}")).map(drop)
    }

    pub(super) async fn exists(&self, path: &str) -> Result<bool, Error> {
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
        let created = self.sftp.create(path).await;
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
