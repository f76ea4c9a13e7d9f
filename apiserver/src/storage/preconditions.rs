//! What a deletion may require of its object.

use api_machinery::ApiError;
use api_types::meta::Preconditions;

use super::{Address, Stored};

impl Stored {
    /// Fails if the object is not the one that is meant, or not as it is meant.
    pub(crate) fn check(&self, at: Address<'_>, wanted: &Preconditions) -> Result<(), ApiError> {
        let actual = |field: &str| self.object["metadata"][field].as_str().unwrap_or_default();
        let fields = [
            ("UID", &wanted.uid, actual("uid")),
            ("ResourceVersion", &wanted.resource_version, actual("resourceVersion")),
        ];
        for (what, wanted, actual) in fields {
            if let Some(wanted) = wanted.as_deref().filter(|w| *w != actual) {
                return Err(at.conflict(&format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
                )));
            }
        }
        Ok(())
    }
}
