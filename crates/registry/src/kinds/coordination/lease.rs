//! Who holds what until when: leader elections and the nodes' signs of life.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::coordination::v1::Lease;
use serde_json::json;

use crate::{ResourceDef, Strategy, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<Lease, _>(LeaseStrategy)
        .replaced_by_version()
        .created_by_put()
        .column("Holder", "string", 0, |lease, _| {
            json!(rules::text(lease.spec.as_ref().and_then(|s| s.holder_identity.as_ref())))
        })
        .build()
}

struct LeaseStrategy;

impl Strategy<Lease> for LeaseStrategy {
    fn validate(&self, lease: &Lease, errors: &mut FieldErrors) {
        let Some(spec) = &lease.spec else { return };
        let path = FieldPath::new("spec");
        rules::positive(spec.lease_duration_seconds, &path.child("leaseDurationSeconds"), errors);
        rules::not_negative(spec.lease_transitions, &path.child("leaseTransitions"), errors);
    }
}
