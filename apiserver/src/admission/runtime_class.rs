//! A pod takes no more beside its containers than its RuntimeClass says, and there are none (Kubernetes:
//! `plugin/pkg/admission/runtimeclass`): what quotas and schedulers count of a pod is not what its author makes up.

use api_machinery::ApiError;
use api_types::api::core::v1::Pod;
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Operation, Plugin};

/// See the module.
#[derive(Debug)]
pub(super) struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.is_core("pods");
        let pod = object.filter(|_| is_new).and_then(AnyObject::get::<Pod>);
        let overhead = pod.and_then(|pod| pod.spec.as_ref()?.overhead.as_ref());
        if overhead.is_none_or(|overhead| overhead.is_empty()) {
            return Ok(());
        }
        let why =
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        Err(ApiError::forbidden("", "pods", attributes.at.name, why))
    }
}
