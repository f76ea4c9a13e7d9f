//! What can go wrong between here and the login node, by what is to be done about it.

use std::io;

/// Its `Display` is for users, and never has a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or no more: to be tried again, over a new connection.
    #[error("{0}")]
    Unreachable(String),
    /// The login node is not the one that it should be, or it does not let us in. Trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is at another login node.
    #[error("{0}")]
    Elsewhere(String),
    /// What was asked for was understood and could not be done.
    #[error("{what}: {message}")]
    Failed {
        /// What was asked for.
        what: String,
        /// The other side's own words.
        message: String,
    },
    /// This side's disk could not be read or written.
    #[error("{what}: {source}")]
    Local {
        /// What was to be done.
        what: String,
        /// Why it could not be.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same may be possible later, without anybody's doing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Unreachable(_))
    }

    /// The other side's refusal of `what`.
    pub(crate) fn failed(what: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Failed { what: what.into(), message: message.into() }
    }

    /// For `map_err`: this side's disk.
    pub(crate) fn local(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Error::Local { what: what.into(), source }
    }
}
