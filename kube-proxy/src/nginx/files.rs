//! What a configuration names.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Where a container finds its configuration and the files that it names.
pub const CONFIG_DIR: &str = "/etc/minik8s";

/// Files beside a configuration, by name. What they contain is part of their names, so that one takes the
/// place of none that is in use.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What tells contents apart.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// The same where somebody who wants another's content to be taken for his can try many.
pub(super) fn whole_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
