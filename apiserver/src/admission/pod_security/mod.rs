//! Pods are held to the Pod Security Standards that the labels of their namespace name; who makes pods of a template is
//! warned of what they would violate (Kubernetes: `k8s.io/pod-security-admission`).

mod namespace;
mod template;

use std::{collections::BTreeMap, sync::Arc};

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::{
    api::core::v1::{Namespace, Pod, PodSpec},
    meta::ObjectMeta,
};
use async_trait::async_trait;
use pod_security::{InvalidLabel, Level, LevelVersion, Policy, evaluate, forbidden_detail};
use registry::{AnyObject, Subresource};
use serde::Deserialize;

use self::{
    namespace::{MOST, violations_of_pods},
    template::template,
};
use super::{Attributes, Operation, Plugin};
use crate::{
    catalogue::InForce,
    objects::{Objects, read_some},
    storage::Storage,
};

const ANNOTATIONS: &str = "pod-security.kubernetes.io/";

type Labels = BTreeMap<String, String>;

/// See the module.
#[derive(Debug)]
pub(super) struct PodSecurity {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

/// What is looked at of a namespace.
#[derive(Deserialize)]
struct Labelled {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Labels,
}

#[async_trait]
impl Plugin for PodSecurity {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        let Some(object) = object.filter(|_| writes) else { return Ok(()) };
        if let Some(namespace) = object.get::<Namespace>() {
            return self.namespace(attributes, namespace);
        }
        if let Some(Pod { metadata, spec: Some(spec), .. }) = object.get::<Pod>() {
            if !changes_what_counts(attributes, spec) {
                return Ok(());
            }
            let policy = self.policy(attributes).await?;
            return judge(attributes, &policy, metadata, spec);
        }
        let template = template(object).filter(|_| attributes.subresource.is_none());
        if let Some((metadata, spec)) = template {
            let (policy, faults) = self.policy(attributes).await?;
            // Pods are judged when they are made.
            let policy = Policy { enforce: LevelVersion::default(), ..policy };
            return judge(attributes, &(policy, faults), metadata, spec);
        }
        Ok(())
    }
}

impl PodSecurity {
    fn objects(&self) -> Objects<'_> {
        Objects { catalogue: &self.catalogue, storage: &self.storage }
    }

    /// That of the namespace, with what can't be read of its labels.
    async fn policy(
        &self,
        attributes: &Attributes<'_>,
    ) -> Result<(Policy, Vec<InvalidLabel>), ApiError> {
        let name = attributes.at.namespace.unwrap_or_default();
        let found: Option<Labelled> = self.objects().find("namespaces", None, name).await?;
        let labels = found.map(|namespace| namespace.metadata.labels).unwrap_or_default();
        Ok(Policy::of_labels(&labels, Policy::default()))
    }

    /// Labels must be such that can be read; of pods that are there and violate what is newly enforced is warned.
    fn namespace(
        &self,
        attributes: &Attributes<'_>,
        namespace: &Namespace,
    ) -> Result<(), ApiError> {
        if attributes.subresource.is_some() {
            return Ok(());
        }
        let of = |namespace: &Namespace| {
            let labels = namespace.metadata.labels.clone().unwrap_or_default();
            Policy::of_labels(&labels, Policy::default())
        };
        let (policy, faults) = of(namespace);
        let old = attributes.old.and_then(AnyObject::get::<Namespace>).map(of);
        if !faults.is_empty() && old.as_ref().is_none_or(|(_, known)| *known != faults) {
            return Err(invalid(attributes, &faults));
        }
        let Some((old, _)) = old else { return Ok(()) };
        let (new, old) = (policy.enforce, old.enforce);
        let is_relaxed = new.version == old.version && new.level <= old.level;
        if new == old || new.level == Level::Privileged || is_relaxed {
            return Ok(());
        }
        let Some(sender) = attributes.sender else { return Ok(()) };
        let name = attributes.at.name;
        let catalogue = self.catalogue.load();
        let Some(pods) = catalogue.find("", "v1", "pods") else { return Ok(()) };
        let (some, all) = read_some::<Pod>(&self.storage, &pods.prefix(Some(name)), MOST);
        let warnings = violations_of_pods(name, (&some, all), new);
        warnings.into_iter().for_each(|warning| sender.feedback.warn(warning));
        Ok(())
    }
}

fn invalid(attributes: &Attributes<'_>, faults: &[InvalidLabel]) -> ApiError {
    let (mut errors, labels) = (FieldErrors::default(), FieldPath::new("metadata").child("labels"));
    for InvalidLabel { label, value, message } in faults {
        errors.invalid(&labels.key(label), value, message);
    }
    let names = &attributes.at.def.names;
    ApiError::invalid(&names.group, &names.kind, attributes.at.name, &errors)
}

/// Of what can be changed of a pod, its images and its ephemeral containers count. Other subresources change neither.
fn changes_what_counts(attributes: &Attributes<'_>, new: &PodSpec) -> bool {
    let changes_containers = matches!(
        attributes.subresource,
        None | Some(Subresource::EphemeralContainers | Subresource::Resize)
    );
    let old = attributes.old.and_then(AnyObject::get::<Pod>).and_then(|pod| pod.spec.as_ref());
    let Some(old) = old.filter(|_| attributes.operation == Operation::Update) else {
        return changes_containers && attributes.operation == Operation::Create;
    };
    let images = |spec: &PodSpec| {
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.map(|container| container.image.clone()).collect::<Vec<_>>()
    };
    let ephemeral = |spec: &PodSpec| {
        let all = spec.ephemeral_containers.iter().flatten();
        all.map(|container| (container.name.clone(), container.image.clone())).collect::<Vec<_>>()
    };
    changes_containers && (images(old) != images(new) || ephemeral(old) != ephemeral(new))
}

/// Refuses what violates what is enforced, and tells what else is violated.
fn judge(
    attributes: &Attributes<'_>,
    (policy, faults): &(Policy, Vec<InvalidLabel>),
    metadata: &ObjectMeta,
    spec: &PodSpec,
) -> Result<(), ApiError> {
    let annotate = |key: &str, value: String| {
        if let Some(sender) = attributes.sender {
            sender.feedback.annotate(format!("{ANNOTATIONS}{key}"), value);
        }
    };
    let violated = |at: LevelVersion| {
        let violations = evaluate(at, metadata, spec);
        let detail = || format!("violate PodSecurity \"{at}\": {}", forbidden_detail(&violations));
        (!violations.is_empty()).then(detail)
    };
    if !faults.is_empty() {
        let told: Vec<_> =
            faults.iter().map(|it| format!("{}: {}", it.label, it.message)).collect();
        annotate("error", format!("Failed to parse policy: {}", told.join(", ")));
    }
    if attributes.at.def.is_core("pods") {
        annotate("enforce-policy", policy.enforce.to_string());
    }
    if let Some(would) = violated(policy.audit) {
        annotate("audit-violations", format!("would {would}"));
    }
    if let Some(why) = violated(policy.enforce) {
        let why = why.replacen("violate", "violates", 1);
        return Err(attributes.forbidden(&why));
    }
    if let (Some(would), Some(sender)) = (violated(policy.warn), attributes.sender) {
        sender.feedback.warn(format!("would {would}"));
    }
    Ok(())
}
