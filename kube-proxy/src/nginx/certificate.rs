//! What servers prove themselves with.

use std::fmt;

use super::files::{CONFIG_DIR, Files, whole_digest};

/// What a server proves itself with, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the server's own first.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

/// Keys are told nobody.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// Gives the path of a file with this content.
pub(super) fn carry(files: &mut Files, kind: &str, content: &[u8]) -> String {
    let name = format!("{}.{kind}", whole_digest(content));
    let path = format!("{CONFIG_DIR}/{name}");
    files.insert(name, content.to_owned());
    path
}
