//! What a pod takes beside its containers, and where it can run, is what its RuntimeClass says (Kubernetes:
//! `plugin/pkg/admission/runtimeclass`): what quotas and schedulers count of a pod is not what its author makes up.

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::{
    Quantity,
    api::{
        core::v1::{Pod, PodSpec},
        node::v1::{RuntimeClass, Scheduling},
    },
};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};
use crate::{catalogue::InForce, objects::Objects, storage::Storage};

type Overhead = std::collections::BTreeMap<String, Quantity>;

/// See the module.
#[derive(Debug)]
pub(super) struct RuntimeClasses {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for RuntimeClasses {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let pod = object.filter(|_| is_new_pod(attributes)).and_then(AnyObject::get_mut::<Pod>);
        let Some(spec) = pod.and_then(|pod| pod.spec.as_mut()) else { return Ok(Vec::new()) };
        if let Some(class) = self.class(attributes, spec).await? {
            complete(spec, &class).map_err(|why| refusal(attributes, &why))?;
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let pod = object.filter(|_| is_new_pod(attributes)).and_then(AnyObject::get::<Pod>);
        let Some(spec) = pod.and_then(|pod| pod.spec.as_ref()) else { return Ok(()) };
        let class = self.class(attributes, spec).await?;
        check(spec, class.as_ref()).map_err(|why| refusal(attributes, why))
    }
}

fn is_new_pod(attributes: &Attributes<'_>) -> bool {
    attributes.operation == Operation::Create && attributes.is_core("pods")
}

fn refusal(attributes: &Attributes<'_>, why: &str) -> ApiError {
    ApiError::forbidden("", "pods", attributes.at.name, &format!("pod rejected: {why}"))
}

impl RuntimeClasses {
    /// The class that a pod names.
    async fn class(
        &self,
        attributes: &Attributes<'_>,
        spec: &PodSpec,
    ) -> Result<Option<RuntimeClass>, ApiError> {
        let Some(name) = spec.runtime_class_name.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let found = objects.find_of(("node.k8s.io", "runtimeclasses"), None, name).await?;
        let missing = || refusal(attributes, &format!("RuntimeClass {name:?} not found"));
        found.map(Some).ok_or_else(missing)
    }
}

fn overhead(class: &RuntimeClass) -> Overhead {
    let overhead = class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.clone());
    overhead.unwrap_or_default()
}

/// Gives the pod what its class says.
fn complete(spec: &mut PodSpec, class: &RuntimeClass) -> Result<(), String> {
    let (wanted, given) = (overhead(class), spec.overhead.clone().unwrap_or_default());
    if !wanted.is_empty() {
        if !given.is_empty() && given != wanted {
            let why = "Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(why.to_owned());
        }
        spec.overhead = Some(wanted);
    }
    let Some(Scheduling { node_selector, tolerations }) = &class.scheduling else { return Ok(()) };
    for (key, value) in node_selector.iter().flatten() {
        let own = spec.node_selector.get_or_insert_default();
        if let Some(other) = own.get(key).filter(|own| *own != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"
            ));
        }
        own.insert(key.clone(), value.clone());
    }
    for toleration in tolerations.iter().flatten() {
        let own = spec.tolerations.get_or_insert_default();
        if !own.contains(toleration) {
            own.push(toleration.clone());
        }
    }
    Ok(())
}

fn check(spec: &PodSpec, class: Option<&RuntimeClass>) -> Result<(), &'static str> {
    let given = spec.overhead.clone().unwrap_or_default();
    let wanted = class.map(overhead).unwrap_or_default();
    if given == wanted {
        Ok(())
    } else if wanted.is_empty() {
        Err("Pod Overhead set without corresponding RuntimeClass defined Overhead")
    } else {
        Err("Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    }
}
