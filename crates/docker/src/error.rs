//! What a daemon could not do, by what a caller does about it.

use std::{error::Error as StdError, io, time::Duration};

use bollard::errors::Error as EngineError;

/// A request that failed. What the daemon said is told as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address of a daemon.
    #[error("{0:?} is not unix://PATH, tcp://HOST:PORT or http://HOST:PORT")]
    Host(String),
    /// No daemon answers, or it has ceased to. Later it may.
    #[error("the Docker daemon does not answer")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// There is no such container or image.
    #[error("{0}")]
    NotFound(String),
    /// A container of this name exists.
    #[error("{0}")]
    InUse(String),
    /// The container's state does not allow it: it does not run, or is being removed.
    #[error("{0}")]
    Conflict(String),
    /// Refused or failed for another reason.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer of a daemon.
    #[error("the Docker daemon's answer makes no sense")]
    Answer(#[source] Box<dyn StdError + Send + Sync>),
}

impl Error {
    pub(crate) fn timeout(patience: Duration) -> Self {
        let why = format!("nothing within {} s", patience.as_secs());
        Error::Unavailable(io::Error::new(io::ErrorKind::TimedOut, why).into())
    }

    /// A conflict, if the only possible one is that of names.
    pub(crate) fn of_names(self) -> Self {
        match self {
            Error::Conflict(said) => Error::InUse(said),
            other => other,
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::DockerResponseServerError { status_code, message } => {
                refusal(status_code, message)
            }
            EngineError::DockerStreamError { error } => Error::Refused(error),
            EngineError::SocketNotFoundError(_)
            | EngineError::IOError { .. }
            | EngineError::HyperResponseError { .. }
            | EngineError::HyperLegacyError { .. }
            | EngineError::RequestTimeoutError => Error::Unavailable(error.into()),
            other => Error::Answer(other.into()),
        }
    }
}

fn refusal(status_code: u16, message: String) -> Error {
    match status_code {
        404 => Error::NotFound(message),
        409 => Error::Conflict(message),
        _ => Error::Refused(message),
    }
}
