//! A connection to the login node: who it is, who we are, commands, and the way to SFTP.

mod error;
mod host_keys;
mod session;

pub use error::Error;
pub use host_keys::HostKeys;
pub use session::{Credential, Exit, Output, Session, Target};
