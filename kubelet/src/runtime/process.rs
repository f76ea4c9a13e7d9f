//! Processes with their streams: commands that run in a container, and a container's own process.

use std::{fmt, pin::Pin};

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Deserialize;
use tokio::io::AsyncWrite;

use super::RuntimeError;

/// A command to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Whether it reads what is written to its input; otherwise there is none.
    pub stdin: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// A command that runs.
#[derive(Debug)]
pub struct Exec {
    /// Names it to the runtime.
    pub id: String,
    /// Its streams.
    pub streams: Streams,
}

/// The standard streams of a process.
pub struct Streams {
    /// Its input. Shut down, it is at its end for the process; that of a terminal has no end.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// What it writes. Unless somebody reads it, the process waits.
    pub output: BoxStream<'static, Result<Output, RuntimeError>>,
}

/// Something a process has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To its standard output, or to its terminal.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

/// Whose terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// That of a container's own process, by the container's id.
    Container(String),
    /// That of a command, by its id.
    Exec(String),
}

/// The size of a terminal in characters, as clients write it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}
