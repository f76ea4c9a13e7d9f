//! What admission has written beside an object.

use super::plugin::Claim;
use crate::storage::{Storage, WriteError};

/// What was claimed for an object that is about to be stored.
#[derive(Debug, Default)]
pub(crate) struct Admitted(pub(super) Vec<Claim>);

impl Admitted {
    /// Gives back what was claimed if the object is certainly not stored. If nobody knows, it stays claimed: a claim
    /// without an object is found by the repair, two objects with one address are not mended by anybody.
    pub(crate) async fn settle<T>(self, storage: &Storage, result: &Result<T, WriteError>) {
        if matches!(result, Err(WriteError::Refused(_) | WriteError::Outdated(_))) {
            self.undo(storage).await;
        }
    }

    /// Gives back what was claimed. What can't be given back now is left to the repair.
    pub(super) async fn undo(self, storage: &Storage) {
        for Claim { key, revision } in self.0 {
            if let Err(WriteError::Unknown(error)) = storage.delete(&key, revision).await {
                tracing::warn!(key, %error, "claim stays until it is repaired");
            }
        }
    }
}
