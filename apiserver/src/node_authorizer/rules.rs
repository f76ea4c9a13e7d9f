//! What all nodes may do alike, as rules.

use std::sync::LazyLock;

use api_types::api::rbac::v1::PolicyRule;

use crate::rbac::{Asked, allows};

static RULES: LazyLock<Vec<PolicyRule>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("rules.yaml")).expect("a test reads it"));

/// These rules.
pub(crate) fn rules() -> &'static [PolicyRule] {
    &RULES
}

pub(super) fn allow(asked: Asked<'_>) -> bool {
    rules().iter().any(|rule| allows(rule, asked))
}
