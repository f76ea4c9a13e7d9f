//! Pods of one template, and how those of the next take over.

use api_machinery::{FieldErrors, FieldPath, percentage};
use api_types::{
    IntOrString,
    api::{
        apps::v1::{
            Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy,
            RollingUpdateDeployment,
        },
        core::v1::Container,
    },
};
use serde_json::json;

use super::pods;
use crate::{
    Exists, ResourceDef, Strategy, Subresource, cells, kinds::core::pod::template, resource, rules,
};

const ROLLING: &str = "RollingUpdate";
const RECREATE: &str = "Recreate";

pub(crate) fn definition() -> ResourceDef {
    resource::<Deployment, _>(DeploymentStrategyOf)
        .generation(is_another)
        .short_names(&["deploy"])
        .categories(&["all"])
        .status(|deployment, from| deployment.status.clone_from(&from.status))
        .subresource(Subresource::Scale)
        .column("Ready", "string", 0, |d, _| {
            json!(format!("{}/{}", count(d, |s| s.ready_replicas), wanted(d)))
        })
        .column("Up-to-date", "string", 0, |d, _| json!(count(d, |s| s.updated_replicas)))
        .column("Available", "string", 0, |d, _| json!(count(d, |s| s.available_replicas)))
        .age()
        .column("Containers", "string", 1, |d, _| json!(of_containers(d, |c| Some(&c.name))))
        .column("Images", "string", 1, |d, _| json!(of_containers(d, |c| c.image.as_ref())))
        .column("Selector", "string", 1, |d, _| {
            json!(d.spec.as_ref().map_or_else(String::new, |s| cells::selector(&s.selector)))
        })
        .build()
}

/// Its annotations are its ReplicaSets', too.
fn is_another(new: &Deployment, old: &Deployment) -> bool {
    new.spec != old.spec || new.metadata.annotations != old.metadata.annotations
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

fn count(deployment: &Deployment, of: impl Fn(&DeploymentStatus) -> Option<i32>) -> i32 {
    deployment.status.as_ref().and_then(of).unwrap_or(0)
}

fn of_containers(deployment: &Deployment, get: impl Fn(&Container) -> Option<&String>) -> String {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    template.map(|template| pods::of_containers(template, get)).unwrap_or_default()
}

struct DeploymentStrategyOf;

impl Strategy<Deployment> for DeploymentStrategyOf {
    /// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#writing-a-deployment-spec>
    fn default(&self, deployment: &mut Deployment) {
        let Some(spec) = &mut deployment.spec else { return };
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        strategy.type_ = strategy.type_.take().filter(|type_| !type_.is_empty());
        if strategy.type_.get_or_insert_with(|| ROLLING.to_owned()) == ROLLING {
            let rolling = strategy.rolling_update.get_or_insert_default();
            let quarter = || IntOrString::String("25%".to_owned());
            rolling.max_surge.get_or_insert_with(quarter);
            rolling.max_unavailable.get_or_insert_with(quarter);
        }
        template::default(&mut spec.template);
    }

    fn prepare_create(&self, deployment: &mut Deployment) {
        deployment.status = Some(DeploymentStatus::default());
    }

    fn prepare_status_update(&self, new: &mut Deployment, old: &Deployment) {
        new.metadata.labels.clone_from(&old.metadata.labels);
    }

    fn validate(&self, deployment: &Deployment, errors: &mut FieldErrors) {
        let none = DeploymentSpec::default();
        validate_spec(deployment.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &Deployment, old: &Deployment) -> FieldErrors {
        self.faults(old)
    }

    fn validate_update(&self, new: &Deployment, old: &Deployment, errors: &mut FieldErrors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let shown = serde_json::to_value(&new.selector).unwrap_or_default();
        let path = FieldPath::new("spec").child("selector");
        rules::immutable(&new.selector, &old.selector, format_args!("{shown}"), &path, errors);
    }

    fn warnings(&self, new: &Deployment, old: Option<&Deployment>, _: &Exists<'_>) -> Vec<String> {
        pods::warnings(new, old, new.spec.as_ref().map(|spec| &spec.template))
    }
}

fn validate_spec(spec: &DeploymentSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::not_negative(spec.replicas, &path.child("replicas"), errors);
    let selector = pods::selector(&spec.selector, &path.child("selector"), errors);
    let at = path.child("template");
    pods::template(selector.as_ref(), &spec.template, &at, errors);
    // As Kubernetes has it: the ReplicaSets are what has the pods.
    pods::without_deadline(&spec.template, "ReplicaSet", &at, errors);
    if let Some(strategy) = &spec.strategy {
        validate_strategy(strategy, &path.child("strategy"), errors);
    }
    rules::not_negative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
    rules::not_negative(spec.revision_history_limit, &path.child("revisionHistoryLimit"), errors);
    let (deadline, path) = (spec.progress_deadline_seconds, path.child("progressDeadlineSeconds"));
    rules::not_negative(deadline, &path, errors);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= min_ready) {
        errors.invalid(&path, deadline, "must be greater than minReadySeconds");
    }
}

fn validate_strategy(strategy: &DeploymentStrategy, path: &FieldPath, errors: &mut FieldErrors) {
    rules::one_of(strategy.type_.as_ref(), &[RECREATE, ROLLING], &path.child("type"), errors);
    let path = path.child("rollingUpdate");
    match (strategy.type_.as_deref(), &strategy.rolling_update) {
        (Some(RECREATE), Some(_)) => {
            errors.forbidden(&path, "may not be specified when strategy `type` is 'Recreate'");
        }
        (Some(ROLLING), Some(rolling)) => validate_rolling(rolling, &path, errors),
        _ => {}
    }
}

fn validate_rolling(rolling: &RollingUpdateDeployment, path: &FieldPath, errors: &mut FieldErrors) {
    let (unavailable, surge) = (path.child("maxUnavailable"), path.child("maxSurge"));
    rules::int_or_percent(rolling.max_unavailable.as_ref(), &unavailable, errors);
    rules::int_or_percent(rolling.max_surge.as_ref(), &surge, errors);
    let is_zero = |value: Option<&IntOrString>| {
        value.is_some_and(|value| percentage::of(value, 1) == Some(0.0))
    };
    if let Some(value) = &rolling.max_unavailable {
        if is_zero(Some(value)) && is_zero(rolling.max_surge.as_ref()) {
            errors.invalid(
                &unavailable,
                rules::int_or_percent_text(value),
                "may not be 0 when `maxSurge` is 0",
            );
        }
        rules::not_more_than_all(Some(value), &unavailable, errors);
    }
}
