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
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
