//! How many pods there are, by what they use. The second version of the group is stored, the first one made of it.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::autoscaling::{
    v1,
    v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus},
};
use serde_json::json;

use super::{
    defaults::{self, DEFAULT_CPU_UTILIZATION, cpu_utilization},
    targets,
    v1::{Annotated, V1, V1Strategy},
    validation,
};
use crate::{ResourceDef, Strategy, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<HorizontalPodAutoscaler, _>(V2Strategy)
        .short_names(&["hpa"])
        .categories(&["all"])
        .status(|autoscaler, from| autoscaler.status.clone_from(&from.status))
        .column("Reference", "string", 0, |hpa, _| json!(targets::reference(hpa)))
        .column("Targets", "string", 0, |hpa, _| json!(targets::all(hpa)))
        .column("MinPods", "string", 0, |hpa, _| json!(targets::min_pods(hpa)))
        .column("MaxPods", "string", 0, |hpa, _| json!(hpa.spec.max_replicas))
        .column("Replicas", "string", 0, |hpa, _| json!(targets::replicas(hpa)))
        .build()
}

/// The first version.
pub(crate) fn v1_definition() -> ResourceDef {
    let of = |hpa: &v1::HorizontalPodAutoscaler| super::v1::stored(hpa).unwrap_or_default();
    resource::<v1::HorizontalPodAutoscaler, _>(V1Strategy)
        .short_names(&["hpa"])
        .categories(&["all"])
        .status(|autoscaler, from| autoscaler.status.clone_from(&from.status))
        .column("Reference", "string", 0, move |hpa, _| json!(targets::reference(&of(hpa))))
        .column("Targets", "string", 0, move |hpa, _| json!(targets::all(&of(hpa))))
        .column("MinPods", "string", 0, move |hpa, _| json!(targets::min_pods(&of(hpa))))
        .column("MaxPods", "string", 0, |hpa, _| json!(hpa.spec.max_replicas))
        .column("Replicas", "string", 0, move |hpa, _| json!(targets::replicas(&of(hpa))))
        .converted(V1)
        .build()
}

struct V2Strategy;

impl Strategy<HorizontalPodAutoscaler> for V2Strategy {
    /// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#default-behavior>
    fn default(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        autoscaler.metadata.drop_annotations();
        let spec = &mut autoscaler.spec;
        spec.min_replicas.get_or_insert(1);
        let metrics = spec.metrics.get_or_insert_default();
        if metrics.is_empty() {
            metrics.push(cpu_utilization(DEFAULT_CPU_UTILIZATION));
        }
        if let Some(behavior) = &mut spec.behavior {
            defaults::behavior(behavior);
        }
    }

    fn prepare_create(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        autoscaler.status = Some(HorizontalPodAutoscalerStatus::default());
    }

    fn validate(&self, autoscaler: &HorizontalPodAutoscaler, errors: &mut FieldErrors) {
        validation::spec(&autoscaler.spec, errors);
    }

    fn validate_status(
        &self,
        new: &HorizontalPodAutoscaler,
        _: &HorizontalPodAutoscaler,
        errors: &mut FieldErrors,
    ) {
        let (Some(status), path) = (&new.status, FieldPath::new("status")) else { return };
        rules::not_negative(status.current_replicas, &path.child("currentReplicas"), errors);
        let desired = Some(status.desired_replicas);
        rules::not_negative(desired, &path.child("desiredReplicas"), errors);
    }
}
