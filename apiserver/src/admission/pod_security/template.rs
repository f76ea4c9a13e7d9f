//! Of what kinds pods are made.

use api_types::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{PodSpec, PodTemplate, PodTemplateSpec, ReplicationController},
    },
    meta::ObjectMeta,
};
use registry::AnyObject;

/// The template of an object that has one.
pub(super) fn template(object: &AnyObject) -> Option<(&ObjectMeta, &PodSpec)> {
    let template = whole(object)?;
    Some((template.metadata.as_ref().unwrap_or(&EMPTY), template.spec.as_ref()?))
}

static EMPTY: std::sync::LazyLock<ObjectMeta> = std::sync::LazyLock::new(ObjectMeta::default);

fn whole(object: &AnyObject) -> Option<&PodTemplateSpec> {
    if let Some(set) = object.get::<ReplicaSet>() {
        return set.spec.as_ref()?.template.as_ref();
    }
    if let Some(deployment) = object.get::<Deployment>() {
        return Some(&deployment.spec.as_ref()?.template);
    }
    if let Some(set) = object.get::<DaemonSet>() {
        return Some(&set.spec.as_ref()?.template);
    }
    if let Some(set) = object.get::<StatefulSet>() {
        return Some(&set.spec.as_ref()?.template);
    }
    if let Some(job) = object.get::<Job>() {
        return Some(&job.spec.as_ref()?.template);
    }
    if let Some(job) = object.get::<CronJob>() {
        return Some(&job.spec.job_template.spec.as_ref()?.template);
    }
    if let Some(controller) = object.get::<ReplicationController>() {
        return controller.spec.as_ref()?.template.as_ref();
    }
    object.get::<PodTemplate>()?.template.as_ref()
}
