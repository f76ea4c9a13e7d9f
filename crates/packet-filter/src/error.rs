//! Why rules could not be read or written.

use std::{io, time::Duration};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file by which programs take turns cannot be locked.
    #[error("locking the packet filter's rules")]
    Lock(#[source] io::Error),
    /// The tool cannot be run.
    #[error("running {0}")]
    Run(&'static str, #[source] io::Error),
    /// The tools, or others who use them, did not end.
    #[error("the packet filter's tools did not end within {0:?}")]
    Timeout(Duration),
    /// The tool refused.
    #[error("{command}: {message}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
}
