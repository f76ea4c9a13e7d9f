//! The numbers of a StatefulSet's pods, which are in their names.

use api_types::api::apps::v1::{StatefulSet, StatefulSetSpec};
use api_types::api::core::v1::Pod;

/// The name of the pod with this number.
pub(super) fn pod_name(set: &StatefulSet, ordinal: i64) -> String {
    format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default())
}

/// The number of a pod by its name; `None` if the name is not one that the set gives.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i64> {
    let name = pod.metadata.name.as_deref()?;
    let (_, number) = name.rsplit_once('-')?;
    let ordinal: i64 = number.parse::<i32>().ok()?.into();
    (pod_name(set, ordinal) == name).then_some(ordinal)
}

/// Whether the pod is called as those of the set are.
pub(super) fn is_member(set: &StatefulSet, pod: &Pod) -> bool {
    ordinal(set, pod).is_some()
}

/// The first number, and how many there are.
pub(super) fn range(spec: &StatefulSetSpec) -> (i64, i64) {
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    (start.into(), spec.replicas.unwrap_or(1).into())
}

/// Whether there is to be a pod of this number.
pub(super) fn is_wanted(spec: &StatefulSetSpec, ordinal: i64) -> bool {
    let (start, count) = range(spec);
    (start..start + count).contains(&ordinal)
}
