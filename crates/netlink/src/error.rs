//! What the kernel refused.

use std::io;

use nix::errno::Errno;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("opening a netlink socket")]
    Open(#[source] io::Error),
    /// A network namespace cannot be worked in.
    #[error("entering a network namespace")]
    Namespace(#[source] io::Error),
    /// No server there.
    #[error("failed to connect to localhost:{port} inside the namespace")]
    Connect {
        /// Where it was looked for.
        port: u16,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// The kernel refused, or did not answer.
    #[error("{step}")]
    Kernel {
        /// What was tried.
        step: String,
        /// What it said.
        #[source]
        source: rtnetlink::Error,
    },
}

impl Error {
    /// What the kernel has answered.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Kernel { source: rtnetlink::Error::NetlinkError(answer), .. } => {
                Some(Errno::from_raw(-answer.raw_code()))
            }
            _ => None,
        }
    }
}

pub(crate) fn failed(step: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let step = step.into();
    move |source| Error::Kernel { step, source }
}

/// Takes the answer `harmless` for success.
pub(crate) fn unless(done: Result<(), Error>, harmless: Errno) -> Result<(), Error> {
    done.or_else(|error| if error.errno() == Some(harmless) { Ok(()) } else { Err(error) })
}
