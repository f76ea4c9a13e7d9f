//! Pods of one template that keep their names, and what they store.

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::{
    apps::v1::{
        StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
        StatefulSetStatus, StatefulSetUpdateStrategy,
    },
    core::v1::{Container, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
};
use serde_json::json;

use super::pods;
use crate::{
    Exists, NameRule, ResourceDef, Strategy, Subresource,
    kinds::core::{
        persistent_volume_claim as claim,
        pod::{template, warnings},
    },
    resource, rules,
    warnings::has_new_generation,
};

const ORDERED: &str = "OrderedReady";
const PARALLEL: &str = "Parallel";
const ROLLING: &str = "RollingUpdate";
const ON_DELETE: &str = "OnDelete";
const RETAIN: &str = "Retain";
const DELETE: &str = "Delete";
const IMMUTABLE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

const ENDLESS: &str = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";

pub(crate) fn definition() -> ResourceDef {
    resource::<StatefulSet, _>(StatefulSetStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["sts"])
        .categories(&["all"])
        .status(|set, from| set.status.clone_from(&from.status))
        .subresource(Subresource::Scale)
        .column("Ready", "string", 0, |set, _| {
            let ready = set.status.as_ref().and_then(|status| status.ready_replicas);
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
            json!(format!("{}/{}", ready.unwrap_or(0), wanted.unwrap_or(0)))
        })
        .age()
        .column("Containers", "string", 1, |set, _| json!(of_containers(set, |c| Some(&c.name))))
        .column("Images", "string", 1, |set, _| json!(of_containers(set, |c| c.image.as_ref())))
        .build()
}

fn of_containers(set: &StatefulSet, get: impl Fn(&Container) -> Option<&String>) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    template.map(|template| pods::of_containers(template, get)).unwrap_or_default()
}

struct StatefulSetStrategy;

impl Strategy<StatefulSet> for StatefulSetStrategy {
    /// Its pods' names are host names, too.
    fn name_rule(&self) -> NameRule {
        names::dns1123_label
    }

    fn default(&self, set: &mut StatefulSet) {
        let Some(spec) = &mut set.spec else { return };
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        default_text(&mut spec.pod_management_policy, ORDERED);
        default_update(spec.update_strategy.get_or_insert_default());
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        default_text(&mut retention.when_deleted, RETAIN);
        default_text(&mut retention.when_scaled, RETAIN);
        spec.volume_claim_templates.iter_mut().flatten().for_each(claim::default);
        template::default(&mut spec.template);
    }

    fn prepare_create(&self, set: &mut StatefulSet) {
        set.status = Some(StatefulSetStatus::default());
        drop_max_unavailable(set);
    }

    fn prepare_update(&self, new: &mut StatefulSet, _old: &StatefulSet) {
        drop_max_unavailable(new);
    }

    fn validate(&self, set: &StatefulSet, errors: &mut FieldErrors) {
        let none = StatefulSetSpec::default();
        validate_spec(set.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &StatefulSet, old: &StatefulSet) -> FieldErrors {
        self.faults(old)
    }

    /// What can't be changed later, and need not be told again then.
    fn validate_create(&self, set: &StatefulSet, errors: &mut FieldErrors) {
        let Some(spec) = &set.spec else { return };
        let path = FieldPath::new("spec");
        let service = spec.service_name.as_ref();
        rules::maybe_follows(service, names::dns1123_label, &path.child("serviceName"), errors);
        for (index, template) in spec.volume_claim_templates.iter().flatten().enumerate() {
            let path = path.child("volumeClaimTemplates").index(index).child("spec");
            claim::validate_spec(template, &path, errors);
        }
    }

    fn validate_update(&self, new: &StatefulSet, old: &StatefulSet, errors: &mut FieldErrors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let comparable = StatefulSetSpec {
            replicas: old.replicas,
            ordinals: old.ordinals.clone(),
            template: old.template.clone(),
            update_strategy: old.update_strategy.clone(),
            revision_history_limit: old.revision_history_limit,
            min_ready_seconds: old.min_ready_seconds,
            persistent_volume_claim_retention_policy: old
                .persistent_volume_claim_retention_policy
                .clone(),
            ..new.clone()
        };
        if comparable != *old {
            errors.forbidden(&FieldPath::new("spec"), IMMUTABLE);
        }
    }

    fn validate_status(&self, new: &StatefulSet, old: &StatefulSet, errors: &mut FieldErrors) {
        let (none, path) = (StatefulSetStatus::default(), FieldPath::new("status"));
        let status = new.status.as_ref().unwrap_or(&none);
        validate_counts(status, &path, errors);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        let now = status.collision_count.unwrap_or(0);
        if before.is_some_and(|before| now < before) {
            errors.invalid(&path.child("collisionCount"), now, "cannot be decremented");
        }
    }

    fn warnings(
        &self,
        new: &StatefulSet,
        old: Option<&StatefulSet>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let Some(spec) = &new.spec else { return Vec::new() };
        let (mut warnings, path) = (Vec::new(), FieldPath::new("spec"));
        if has_new_generation(new, old) {
            warnings::template(&spec.template, &path.child("template"), &mut warnings);
        }
        for (index, template) in spec.volume_claim_templates.iter().flatten().enumerate() {
            let path = path.child("volumeClaimTemplates").index(index);
            // So Kubernetes calls it.
            let path = if old.is_some() { path.child("Spec") } else { path };
            template.spec.iter().for_each(|spec| claim::fractions(spec, &path, &mut warnings));
        }
        if spec.revision_history_limit.is_some_and(|limit| limit < 0) {
            warnings.push(ENDLESS.to_owned());
        }
        warnings
    }
}

fn default_text(text: &mut Option<String>, default: &str) {
    if text.as_ref().is_none_or(String::is_empty) {
        *text = Some(default.to_owned());
    }
}

/// Who names the type and says no more of it has no partition, as with Kubernetes.
fn default_update(update: &mut StatefulSetUpdateStrategy) {
    if update.type_.as_ref().is_none_or(String::is_empty) {
        update.type_ = Some(ROLLING.to_owned());
        update.rolling_update.get_or_insert_default();
    }
    if update.type_.as_deref() == Some(ROLLING)
        && let Some(rolling) = &mut update.rolling_update
    {
        rolling.partition.get_or_insert(0);
    }
}

/// Its feature gate is off in Kubernetes v1.36.
fn drop_max_unavailable(set: &mut StatefulSet) {
    let update = set.spec.as_mut().and_then(|spec| spec.update_strategy.as_mut());
    if let Some(rolling) = update.and_then(|update| update.rolling_update.as_mut()) {
        rolling.max_unavailable = None;
    }
}

fn validate_spec(spec: &StatefulSetSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let policy = rules::text(spec.pod_management_policy.as_ref());
    if ![ORDERED, PARALLEL].contains(&policy) {
        let path = path.child("podManagementPolicy");
        errors.invalid(&path, policy, "must be 'OrderedReady' or 'Parallel'");
    }
    if let Some(update) = &spec.update_strategy {
        validate_update_strategy(update, &path.child("updateStrategy"), errors);
    }
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        let path = path.child("persistentVolumeClaimRetentionPolicy");
        validate_retention(policy, &path, errors);
    }
    rules::not_negative(spec.replicas, &path.child("replicas"), errors);
    rules::not_negative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    rules::not_negative(start, &path.child("ordinals.start"), errors);
    let selector =
        pods::own_selector(&spec.selector, "statefulset", &path.child("selector"), errors);
    let path = path.child("template");
    pods::template(selector.as_ref(), &as_pods_have_it(spec), &path, errors);
    pods::without_deadline(&spec.template, "StatefulSet", &path, errors);
}

/// The template with the volumes that claims are made for; the controller gives host name and subdomain.
fn as_pods_have_it(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let Some(pod) = &mut template.spec else { return template };
    (pod.hostname, pod.subdomain) = (None, None);
    let names = spec.volume_claim_templates.iter().flatten();
    let names = names.filter_map(|template| template.metadata.name.clone());
    let claimed: BTreeMap<String, Volume> =
        names.map(|name| (name.clone(), of_claim(name))).collect();
    if !claimed.is_empty() {
        let volumes = pod.volumes.get_or_insert_default();
        volumes.retain(|volume| !claimed.contains_key(&volume.name));
        volumes.splice(0..0, claimed.into_values());
    }
    template
}

fn of_claim(name: String) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None };
    Volume { name, persistent_volume_claim: Some(source), ..Volume::default() }
}

fn validate_update_strategy(
    update: &StatefulSetUpdateStrategy,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let at = path.child("rollingUpdate");
    match (update.type_.as_deref(), &update.rolling_update) {
        (Some(ON_DELETE), Some(rolling)) => {
            let shown = serde_json::to_value(rolling).unwrap_or_default();
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(&at, format_args!("{shown}"), why);
        }
        (Some(ROLLING), Some(rolling)) => {
            rules::not_negative(rolling.partition, &at.child("partition"), errors);
        }
        (Some(ROLLING | ON_DELETE), None) => {}
        _ => {
            let shown = serde_json::to_value(update).unwrap_or_default();
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.invalid(path, format_args!("{shown}"), why);
        }
    }
}

fn validate_retention(
    policy: &StatefulSetPersistentVolumeClaimRetentionPolicy,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let known = [RETAIN, DELETE];
    rules::one_of(policy.when_deleted.as_ref(), &known, &path.child("whenDeleted"), errors);
    rules::one_of(policy.when_scaled.as_ref(), &known, &path.child("whenScaled"), errors);
}

fn validate_counts(status: &StatefulSetStatus, path: &FieldPath, errors: &mut FieldErrors) {
    const MORE: &str = "cannot be greater than status.replicas";
    let parts = [
        ("readyReplicas", status.ready_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
        ("availableReplicas", status.available_replicas),
    ];
    rules::not_negative(Some(status.replicas), &path.child("replicas"), errors);
    for (name, count) in parts {
        rules::not_negative(count, &path.child(name), errors);
    }
    rules::not_negative(status.observed_generation, &path.child("observedGeneration"), errors);
    rules::not_negative(status.collision_count, &path.child("collisionCount"), errors);
    for (name, count) in parts {
        if let Some(count) = count.filter(|count| *count > status.replicas) {
            errors.invalid(&path.child(name), count, MORE);
        }
    }
    let (available, ready) = (status.available_replicas, status.ready_replicas.unwrap_or(0));
    if let Some(available) = available.filter(|available| *available > ready) {
        let why = "cannot be greater than status.readyReplicas";
        errors.invalid(&path.child("availableReplicas"), available, why);
    }
}
