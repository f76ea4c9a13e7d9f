//! What a pod of a StatefulSet is called, and what it is made of.

use std::collections::BTreeMap;

use api_types::api::apps::v1::{StatefulSet, StatefulSetSpec};
use api_types::api::core::v1::{Pod, PodTemplateSpec, Volume};

use super::claims;
use super::ordinals::pod_name;
use crate::history::REVISION_LABEL;
use crate::pod_control::pod_of;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// A template and the name of its revision.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) template: PodTemplateSpec,
}

/// The revision that the pod was made by.
pub(super) fn revision(pod: &Pod) -> &str {
    label(pod, REVISION_LABEL)
}

fn label<'a>(pod: &'a Pod, name: &str) -> &'a str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(name)).map(String::as_str).unwrap_or_default()
}

/// The labels by which a pod is found that has this number, and that it lacks.
pub(super) fn missing_labels(pod: &Pod, ordinal: i64) -> BTreeMap<String, String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    if label(pod, POD_NAME) == name { BTreeMap::new() } else { labels(name, ordinal) }
}

fn labels(name: String, ordinal: i64) -> BTreeMap<String, String> {
    [(POD_NAME.to_owned(), name), (POD_INDEX.to_owned(), ordinal.to_string())].into()
}

/// The pod with this number, by this version of the template.
pub(super) fn pod(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    version: &Version,
    ordinal: i64,
) -> Pod {
    let mut pod = pod_of(set, &version.template);
    let name = pod_name(set, ordinal);
    let metadata = &mut pod.metadata;
    metadata.generate_name = None;
    metadata.name = Some(name.clone());
    let own = metadata.labels.get_or_insert_default();
    own.extend(labels(name.clone(), ordinal));
    own.insert(REVISION_LABEL.to_owned(), version.name.clone());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec.service_name.clone().filter(|service| !service.is_empty());
    let claimed: Vec<Volume> = claims::volumes(set, spec, ordinal).collect();
    if !claimed.is_empty() {
        let volumes = pod_spec.volumes.get_or_insert_default();
        volumes.retain(|volume| claimed.iter().all(|claimed| claimed.name != volume.name));
        volumes.splice(0..0, claimed);
    }
    pod
}
