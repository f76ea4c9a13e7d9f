//! Files and commands on the login node.

mod directory;
mod download;
mod list;
mod node;
mod quote;
mod upload;

pub use directory::JobDirectory;
pub(crate) use download::{remove_partials, set_aside};
pub use list::RemoteFile;
pub(crate) use list::check_pattern;
pub(crate) use node::REMOVED;
pub use node::Remote;
pub use quote::quote;
