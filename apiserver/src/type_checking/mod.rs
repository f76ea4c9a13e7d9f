//! Tells in the statuses of ValidatingAdmissionPolicies which of their expressions are not about what the objects have that
//! they are for (Kubernetes: `pkg/controller/validatingadmissionpolicystatus`). Policies take effect whatever is told.

mod expressions;

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::admissionregistration::v1::{TypeChecking, ValidatingAdmissionPolicy};
use http::Method;
use serde_json::json;
use tokio::task;

use crate::{changes::Changes, internal, objects, service::InProcess, state::State};

const PREFIX: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
const PATH: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// Sees to policies that are new, or that have changed.
pub(crate) async fn follow(state: Arc<State>, api: InProcess) {
    let mut changes = Changes::of(&state.storage, PREFIX).await;
    loop {
        let mut is_told = true;
        let policies: Vec<ValidatingAdmissionPolicy> = objects::read_all(&state.storage, PREFIX);
        for policy in policies.into_iter().filter(is_new) {
            let told = tell(&state, &api, policy).await;
            is_told &= told
                .inspect_err(|error| {
                    tracing::warn!(%error, "the status of a policy can't be written yet");
                })
                .is_ok();
        }
        changes.next(!is_told).await;
    }
}

/// Whether nobody has looked at it as it is.
fn is_new(policy: &ValidatingAdmissionPolicy) -> bool {
    let observed = policy.status.as_ref().and_then(|status| status.observed_generation);
    policy.metadata.generation > observed
}

/// Writes the status. Who was faster, or has changed it since, is heard of.
async fn tell(
    state: &State,
    api: &InProcess,
    mut policy: ValidatingAdmissionPolicy,
) -> Result<(), ApiError> {
    let catalogue = state.catalogue.load();
    // Aside: a policy may have many expressions, each for many kinds.
    let checked = task::spawn_blocking(move || {
        let found = expressions::warnings(&policy, &catalogue);
        let status = policy.status.get_or_insert_default();
        status.observed_generation = policy.metadata.generation;
        let expression_warnings = Some(found).filter(|found| !found.is_empty());
        status.type_checking = Some(TypeChecking { expression_warnings });
        policy
    });
    let policy = checked.await.expect("nobody aborts it, and it doesn't panic");
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let path = format!("{PATH}/{name}/status");
    match internal::request(api, Method::PUT, &path, &json!(policy)).await {
        Err(error) if !matches!(error.code(), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}
