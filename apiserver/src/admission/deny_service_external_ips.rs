//! No Service gets an external IP that it does not have: whoever may make Services could take traffic that is somebody
//! else's (Kubernetes: `plugin/pkg/admission/network/denyserviceexternalips`). It is asked only where a flag says so.

use api_machinery::ApiError;
use api_types::api::core::v1::Service;
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Plugin};

/// See the module.
#[derive(Debug)]
pub(super) struct DenyServiceExternalIps;

#[async_trait]
impl Plugin for DenyServiceExternalIps {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let object = object.filter(|_| attributes.is_core("services"));
        let had = attributes.old.map(addresses).unwrap_or_default();
        if object.map(addresses).unwrap_or_default().iter().all(|address| had.contains(address)) {
            return Ok(());
        }
        Err(attributes.forbidden("Use of external IPs is denied by admission control"))
    }
}

fn addresses(service: &AnyObject) -> &[String] {
    let spec = service.get::<Service>().and_then(|service| service.spec.as_ref());
    spec.and_then(|spec| spec.external_ips.as_deref()).unwrap_or_default()
}
