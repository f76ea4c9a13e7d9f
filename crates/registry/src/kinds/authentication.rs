//! Who somebody is: kinds that are asked and not stored.

use api_types::api::authentication::v1::{SelfSubjectReview, TokenReview};

use crate::{Plain, ResourceDef, resource};

/// Whose a token is.
pub(super) fn token_review() -> ResourceDef {
    resource::<TokenReview, _>(Plain).review().build()
}

/// Who asks.
pub(super) fn self_subject_review() -> ResourceDef {
    resource::<SelfSubjectReview, _>(Plain).review().build()
}
