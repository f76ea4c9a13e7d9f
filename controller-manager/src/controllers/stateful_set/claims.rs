//! What the pods of a StatefulSet store something on, and what becomes of it when there are fewer pods or none.

use api_types::api::apps::v1::{StatefulSet, StatefulSetSpec};
use api_types::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume,
};
use api_types::meta::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::ordinals::{is_wanted, ordinal};
use crate::owners::controller_reference;

const DELETE: &str = "Delete";

/// The claims of the pod with this number, each with the name of its template.
pub(super) fn wanted(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: i64,
) -> impl Iterator<Item = (String, PersistentVolumeClaim)> {
    let selected = spec.selector.match_labels.clone().unwrap_or_default();
    spec.volume_claim_templates.iter().flatten().map(move |template| {
        let (mut claim, of_template) = (template.clone(), template_name(template).to_owned());
        let metadata = &mut claim.metadata;
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        metadata.name = Some(format!("{of_template}-{set_name}-{ordinal}"));
        metadata.namespace.clone_from(&set.metadata.namespace);
        metadata.labels.get_or_insert_default().extend(selected.clone());
        claim.status = None;
        (of_template, claim)
    })
}

fn template_name(template: &PersistentVolumeClaim) -> &str {
    template.metadata.name.as_deref().unwrap_or_default()
}

/// The volumes by which the pod with this number has its claims.
pub(super) fn volumes(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: i64,
) -> impl Iterator<Item = Volume> {
    wanted(set, spec, ordinal).map(|(name, claim)| {
        let claim_name = claim.metadata.name.unwrap_or_default();
        let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
        Volume { name, persistent_volume_claim: Some(source), ..Volume::default() }
    })
}

/// The owners that the claim of a pod should have by the set's retention policy; `None` if they are right, or if somebody
/// else looks after the claim.
///
/// What goes with the set is the set's. What goes when there are fewer pods is its pod's as soon as the pod is one too many.
pub(super) fn owners(
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    pod: &Pod,
) -> Option<Vec<OwnerReference>> {
    let own = [controller_reference(set)?, controller_reference(pod)?];
    let there = claim.metadata.owner_references.as_deref().unwrap_or_default();
    let is_alike = |one: &OwnerReference, other: &OwnerReference| {
        (&one.api_version, &one.kind, &one.name) == (&other.api_version, &other.kind, &other.name)
    };
    if there.iter().any(|it| own.iter().any(|own| is_alike(it, own) && it.uid != own.uid)) {
        return None;
    }
    let is_own = |it: &OwnerReference| own.iter().any(|own| own.uid == it.uid);
    let others: Vec<_> = there.iter().filter(|it| !is_own(it)).cloned().collect();
    let (with_set, with_pod) = policy(set, spec, pod);
    let is_retained = !deletes(spec, |it| &it.when_deleted) && !deletes(spec, |it| &it.when_scaled);
    let is_foreign = !is_retained && others.iter().any(|it| it.controller == Some(true));
    let [of_set, of_pod] = own;
    let mut right = others;
    right.extend((with_set && !is_foreign).then_some(of_set));
    right.extend((with_pod && !is_foreign).then_some(of_pod));
    (!are_alike(&right, there)).then_some(right)
}

/// Whether it goes with the set, and whether it goes with the pod.
fn policy(set: &StatefulSet, spec: &StatefulSetSpec, pod: &Pod) -> (bool, bool) {
    let is_surplus = ordinal(set, pod).is_none_or(|ordinal| !is_wanted(spec, ordinal));
    let with_pod = deletes(spec, |it| &it.when_scaled) && is_surplus;
    (deletes(spec, |it| &it.when_deleted) && !with_pod, with_pod)
}

type Retention = api_types::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy;

fn deletes(spec: &StatefulSetSpec, when: impl Fn(&Retention) -> &Option<String>) -> bool {
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    policy.is_some_and(|policy| when(policy).as_deref() == Some(DELETE))
}

/// In whatever order, as far as it is said who the owner is and whether it controls.
fn are_alike(one: &[OwnerReference], other: &[OwnerReference]) -> bool {
    let key = |it: &OwnerReference| (it.uid.clone(), it.controller == Some(true));
    let keys = |all: &[OwnerReference]| {
        let mut keys: Vec<_> = all.iter().map(key).collect();
        keys.sort();
        keys
    };
    keys(one) == keys(other)
}

/// Whether the claim goes with a pod of that name that was there before: the next one waits for it to be gone.
pub(super) fn is_stale(spec: &StatefulSetSpec, claim: &ObjectMeta, pod: &Pod) -> bool {
    let name = pod.meta().name.as_deref();
    let owners = claim.owner_references.as_deref().unwrap_or_default();
    deletes(spec, |it| &it.when_scaled)
        && owners.iter().any(|owner| {
            owner.kind == "Pod"
                && Some(owner.name.as_str()) == name
                && Some(&owner.uid) != pod.metadata.uid.as_ref()
        })
}
