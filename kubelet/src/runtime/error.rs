//! What may go wrong with the runtime.

/// A step of the runtime that failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime does not answer at all.
    #[error("the container runtime is unreachable: {0}")]
    Unreachable(String),
    /// The container, image or sandbox does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A container of that name exists already.
    #[error("{0}")]
    Conflict(String),
    /// The runtime refused or failed.
    #[error("{0}")]
    Failed(String),
}
