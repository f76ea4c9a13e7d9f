//! Devices that somebody asks for, and which ones these are.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::resource::v1::{ResourceClaim, ResourceClaimStatus};
use serde_json::json;

use super::{allocation, claim};
use crate::{ResourceDef, Strategy, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<ResourceClaim, _>(ClaimStrategy)
        .shown_when_deleted()
        .status_alone(|claim, from| claim.status.clone_from(&from.status))
        .column("State", "string", 0, |claim, _| json!(state(claim)))
        .build()
}

/// `allocated,reserved`.
fn state(claim: &ResourceClaim) -> String {
    let is_going = claim.metadata.deletion_timestamp.is_some();
    let status = claim.status.as_ref();
    let is_allocated = status.is_some_and(|status| status.allocation.is_some());
    let reserved = status.and_then(|status| status.reserved_for.as_ref());
    let is_reserved = is_allocated && reserved.is_some_and(|users| !users.is_empty());
    let states = [
        ("deleted", is_going),
        ("pending", !is_allocated && !is_going),
        ("allocated", is_allocated),
        ("reserved", is_reserved),
    ];
    let states = states.iter().filter(|(_, is_so)| *is_so).map(|(state, _)| *state);
    states.collect::<Vec<_>>().join(",")
}

struct ClaimStrategy;

impl Strategy<ResourceClaim> for ClaimStrategy {
    fn default(&self, claim: &mut ResourceClaim) {
        claim::default(&mut claim.spec);
    }

    /// It is there from the beginning, as with Kubernetes: JSON patches add to it.
    fn prepare_create(&self, claim: &mut ResourceClaim) {
        claim.status = Some(ResourceClaimStatus::default());
    }

    fn validate_create(&self, claim: &ResourceClaim, errors: &mut FieldErrors) {
        claim::validate(&claim.spec, &FieldPath::new("spec"), errors);
    }

    fn validate_update(&self, new: &ResourceClaim, old: &ResourceClaim, errors: &mut FieldErrors) {
        rules::immutable(&new.spec, &old.spec, "", &FieldPath::new("spec"), errors);
    }

    fn validate_status(&self, new: &ResourceClaim, old: &ResourceClaim, errors: &mut FieldErrors) {
        allocation::validate(new, old, &FieldPath::new("status"), errors);
    }
}
