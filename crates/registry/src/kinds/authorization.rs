//! Whether somebody may do something: kinds that are asked and not stored.

use api_types::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

use crate::{Plain, ResourceDef, resource};

/// Whether somebody may do something.
pub(super) fn subject_access_review() -> ResourceDef {
    resource::<SubjectAccessReview, _>(Plain).review().build()
}

/// The same, in a namespace.
pub(super) fn local_subject_access_review() -> ResourceDef {
    resource::<LocalSubjectAccessReview, _>(Plain).review().build()
}

/// Whether who asks may do something.
pub(super) fn self_subject_access_review() -> ResourceDef {
    resource::<SelfSubjectAccessReview, _>(Plain).review().build()
}

/// All that who asks may do in a namespace.
pub(super) fn self_subject_rules_review() -> ResourceDef {
    resource::<SelfSubjectRulesReview, _>(Plain).review().build()
}
