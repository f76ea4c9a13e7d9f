//! What may go wrong with frames.

use std::io;

/// Why bytes are no frames, or a frame can't be said. There is no going on after one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is another protocol.
    #[error("SPDY of version {0} is not known")]
    Version(u16),
    /// A frame that nobody needs to send, or that does not fit its length.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// The frame ends within a field.
    #[error("a frame ends too early")]
    TooShort,
    /// Its headers are not compressed as they should be.
    #[error("headers are not compressed as they should be")]
    Compression,
    /// The connection is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
}
