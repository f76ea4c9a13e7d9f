//! How many pods may be taken away at a time by whoever asks first.

use api_machinery::{FieldErrors, FieldPath};
use api_types::{
    IntOrString,
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
};
use serde_json::json;

use crate::{ResourceDef, Strategy, label_selector, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<PodDisruptionBudget, _>(PodDisruptionBudgetStrategy)
        .replaced_by_version()
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["pdb"])
        .status(|budget, from| budget.status.clone_from(&from.status))
        .column("Min Available", "string", 0, |budget, _| {
            json!(shown(budget, |spec| spec.min_available.as_ref()))
        })
        .column("Max Unavailable", "string", 0, |budget, _| {
            json!(shown(budget, |spec| spec.max_unavailable.as_ref()))
        })
        .column("Allowed Disruptions", "integer", 0, |budget, _| {
            json!(budget.status.as_ref().and_then(|it| it.disruptions_allowed).unwrap_or(0))
        })
        .build()
}

fn shown(
    budget: &PodDisruptionBudget,
    of: impl Fn(&PodDisruptionBudgetSpec) -> Option<&IntOrString>,
) -> String {
    let value = budget.spec.as_ref().and_then(of);
    value.map_or_else(|| "N/A".to_owned(), rules::int_or_percent_text)
}

struct PodDisruptionBudgetStrategy;

impl Strategy<PodDisruptionBudget> for PodDisruptionBudgetStrategy {
    fn prepare_create(&self, budget: &mut PodDisruptionBudget) {
        budget.status = Some(PodDisruptionBudgetStatus::default());
    }

    fn validate(&self, budget: &PodDisruptionBudget, errors: &mut FieldErrors) {
        let none = PodDisruptionBudgetSpec::default();
        validate_spec(budget.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    fn validate_status(
        &self,
        new: &PodDisruptionBudget,
        _: &PodDisruptionBudget,
        errors: &mut FieldErrors,
    ) {
        let (Some(status), path) = (&new.status, FieldPath::new("status")) else { return };
        for (value, field) in [
            (status.disruptions_allowed, "disruptionsAllowed"),
            (status.current_healthy, "currentHealthy"),
            (status.desired_healthy, "desiredHealthy"),
            (status.expected_pods, "expectedPods"),
        ] {
            rules::not_negative(value, &path.child(field), errors);
        }
    }
}

fn validate_spec(spec: &PodDisruptionBudgetSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let (least, most) = (spec.min_available.as_ref(), spec.max_unavailable.as_ref());
    if least.is_some() && most.is_some() {
        let shown = serde_json::to_value(spec).unwrap_or_default();
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.invalid(path, format_args!("{shown}"), why);
    }
    for (value, field) in [(least, "minAvailable"), (most, "maxUnavailable")] {
        rules::int_or_percent(value, &path.child(field), errors);
        rules::not_more_than_all(value, &path.child(field), errors);
    }
    if let Some(selector) = &spec.selector {
        label_selector::validate(selector, &path.child("selector"), errors);
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    let policy = spec.unhealthy_pod_eviction_policy.as_ref();
    if let Some(policy) = policy.filter(|policy| !policies.contains(&policy.as_str())) {
        errors.not_supported(&path.child("unhealthyPodEvictionPolicy"), policy, &policies);
    }
}
