//! A pod on each node that it may run on.

use api_machinery::{FieldErrors, FieldPath, percentage};
use api_types::{
    IntOrString,
    api::{
        apps::v1::{
            DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy,
            RollingUpdateDaemonSet,
        },
        core::v1::Container,
    },
};
use serde_json::json;

use super::pods;
use crate::{
    Exists, ResourceDef, Strategy, cells,
    kinds::core::pod::{template, warnings},
    resource, rules,
};

const ROLLING: &str = "RollingUpdate";
const ON_DELETE: &str = "OnDelete";

pub(crate) fn definition() -> ResourceDef {
    resource::<DaemonSet, _>(DaemonSetStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["ds"])
        .categories(&["all"])
        .status(|set, from| set.status.clone_from(&from.status))
        .column("Desired", "integer", 0, |set, _| json!(count(set, |s| s.desired_number_scheduled)))
        .column("Current", "integer", 0, |set, _| json!(count(set, |s| s.current_number_scheduled)))
        .column("Ready", "integer", 0, |set, _| json!(count(set, |s| s.number_ready)))
        .column("Up-to-date", "integer", 0, |set, _| {
            json!(count(set, |s| s.updated_number_scheduled.unwrap_or(0)))
        })
        .column("Available", "integer", 0, |set, _| {
            json!(count(set, |s| s.number_available.unwrap_or(0)))
        })
        .column("Node Selector", "string", 0, |set, _| {
            let pod = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            json!(cells::labels(pod.and_then(|pod| pod.node_selector.as_ref())))
        })
        .age()
        .column("Containers", "string", 1, |set, _| json!(of_containers(set, |c| Some(&c.name))))
        .column("Images", "string", 1, |set, _| json!(of_containers(set, |c| c.image.as_ref())))
        .column("Selector", "string", 1, |set, _| {
            json!(set.spec.as_ref().map_or_else(String::new, |s| cells::selector(&s.selector)))
        })
        .build()
}

fn count(set: &DaemonSet, of: impl Fn(&DaemonSetStatus) -> i32) -> i32 {
    set.status.as_ref().map_or(0, of)
}

fn of_containers(set: &DaemonSet, get: impl Fn(&Container) -> Option<&String>) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    template.map(|template| pods::of_containers(template, get)).unwrap_or_default()
}

struct DaemonSetStrategy;

impl Strategy<DaemonSet> for DaemonSetStrategy {
    /// Kubernetes: `SetDefaults_DaemonSet`.
    fn default(&self, set: &mut DaemonSet) {
        let Some(spec) = &mut set.spec else { return };
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        strategy.type_ = strategy.type_.take().filter(|type_| !type_.is_empty());
        if strategy.type_.get_or_insert_with(|| ROLLING.to_owned()) == ROLLING {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        template::default(&mut spec.template);
    }

    fn prepare_create(&self, set: &mut DaemonSet) {
        set.status = Some(DaemonSetStatus::default());
    }

    fn validate(&self, set: &DaemonSet, errors: &mut FieldErrors) {
        let none = DaemonSetSpec::default();
        validate_spec(set.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &DaemonSet, old: &DaemonSet) -> FieldErrors {
        self.faults(old)
    }

    fn validate_update(&self, new: &DaemonSet, old: &DaemonSet, errors: &mut FieldErrors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let shown = serde_json::to_value(&new.selector).unwrap_or_default();
        let path = FieldPath::new("spec").child("selector");
        rules::immutable(&new.selector, &old.selector, format_args!("{shown}"), &path, errors);
    }

    fn validate_status(&self, new: &DaemonSet, old: &DaemonSet, errors: &mut FieldErrors) {
        let (none, path) = (DaemonSetStatus::default(), FieldPath::new("status"));
        let status = new.status.as_ref().unwrap_or(&none);
        validate_counts(status, &path, errors);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        let now = status.collision_count.unwrap_or(0);
        if before.is_some_and(|before| now < before) {
            errors.invalid(&path.child("collisionCount"), now, "cannot be decremented");
        }
    }

    fn warnings(&self, new: &DaemonSet, old: Option<&DaemonSet>, _: &Exists<'_>) -> Vec<String> {
        let (mut warnings, path) = (Vec::new(), FieldPath::new("spec").child("template"));
        let before = old.and_then(|old| old.spec.as_ref()).map(|spec| &spec.template);
        let now = new.spec.as_ref().map(|spec| &spec.template);
        if let Some(template) = now.filter(|_| now != before) {
            warnings::template(template, &path, &mut warnings);
        }
        warnings
    }
}

fn validate_spec(spec: &DaemonSetSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let selector = pods::own_selector(&spec.selector, "daemonset", &path.child("selector"), errors);
    let at = path.child("template");
    pods::template(selector.as_ref(), &spec.template, &at, errors);
    pods::without_deadline(&spec.template, "DaemonSet", &at, errors);
    rules::not_negative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
    if let Some(strategy) = &spec.update_strategy {
        validate_strategy(strategy, &path.child("updateStrategy"), errors);
    }
    rules::not_negative(spec.revision_history_limit, &path.child("revisionHistoryLimit"), errors);
}

fn validate_strategy(
    strategy: &DaemonSetUpdateStrategy,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    rules::one_of(strategy.type_.as_ref(), &[ROLLING, ON_DELETE], &path.child("type"), errors);
    if strategy.type_.as_deref() == Some(ROLLING) {
        match &strategy.rolling_update {
            Some(rolling) => validate_rolling(rolling, &path.child("rollingUpdate"), errors),
            None => errors.required(&path.child("rollingUpdate"), ""),
        }
    }
}

fn validate_rolling(rolling: &RollingUpdateDaemonSet, path: &FieldPath, errors: &mut FieldErrors) {
    let fields = [(&rolling.max_unavailable, "maxUnavailable"), (&rolling.max_surge, "maxSurge")];
    for (value, field) in fields {
        rules::int_or_percent(value.as_ref(), &path.child(field), errors);
        rules::not_more_than_all(value.as_ref(), &path.child(field), errors);
    }
    let is_some = |value: &Option<IntOrString>| {
        let part = value.as_ref().and_then(|value| percentage::of(value, 100));
        part.is_some_and(|part| part.abs() > 0.0)
    };
    match (is_some(&rolling.max_unavailable), is_some(&rolling.max_surge)) {
        (true, true) => {
            let shown = rolling.max_surge.as_ref().map(rules::int_or_percent_text);
            let why = "may not be set when maxUnavailable is non-zero";
            errors.invalid(&path.child("maxSurge"), shown.unwrap_or_default(), why);
        }
        (false, false) => {
            errors.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
        }
        _ => {}
    }
}

fn validate_counts(status: &DaemonSetStatus, path: &FieldPath, errors: &mut FieldErrors) {
    for (name, count) in [
        ("currentNumberScheduled", Some(status.current_number_scheduled)),
        ("numberMisscheduled", Some(status.number_misscheduled)),
        ("desiredNumberScheduled", Some(status.desired_number_scheduled)),
        ("numberReady", Some(status.number_ready)),
        ("updatedNumberScheduled", status.updated_number_scheduled),
        ("numberAvailable", status.number_available),
        ("numberUnavailable", status.number_unavailable),
        ("collisionCount", status.collision_count),
    ] {
        rules::not_negative(count, &path.child(name), errors);
    }
    rules::not_negative(status.observed_generation, &path.child("observedGeneration"), errors);
}
