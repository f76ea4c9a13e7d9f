//! A pod that names no service account gets the one called `default`
//! (Kubernetes: `plugin/pkg/admission/serviceaccount`, of which this is the naming alone).

use api_machinery::ApiError;
use api_types::api::core::v1::{Pod, PodSpec};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.is_core("pods");
        let pod = object.filter(|_| is_new).and_then(AnyObject::get_mut::<Pod>);
        if let Some(spec) = pod.and_then(|pod| pod.spec.as_mut()) {
            name(spec);
        }
        Ok(Vec::new())
    }
}

fn name(spec: &mut PodSpec) {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let old_name = given(&spec.service_account);
    let name = given(&spec.service_account_name).or(old_name);
    spec.service_account_name = Some(name.unwrap_or_else(|| "default".to_owned()));
}
