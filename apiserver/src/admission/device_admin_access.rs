//! Devices that others use (`adminAccess`) are asked for in namespaces that are labelled for it, and in no others: whoever
//! may make claims is not to look into everybody's devices (Kubernetes: `AuthorizedForAdmin` of `pkg/registry/resource`).

use std::sync::Arc;

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::api::{
    core::v1::Namespace,
    resource::v1::{DeviceRequest, ResourceClaim, ResourceClaimSpec, ResourceClaimTemplate},
};
use async_trait::async_trait;
use registry::{AnyObject, Subresource};

use super::{Attributes, Operation, Plugin};
use crate::{catalogue::InForce, objects::Objects, storage::Storage};

const LABEL: &str = "resource.kubernetes.io/admin-access";

/// See the module.
#[derive(Debug)]
pub(super) struct DeviceAdminAccess {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for DeviceAdminAccess {
    /// Neither what is asked for changes, nor what was allocated.
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let place = match (attributes.operation, attributes.subresource) {
            (Operation::Create, None) => object.and_then(spec).and_then(admin_request),
            (Operation::Update, Some(Subresource::Status)) => {
                let before = attributes.old.and_then(admin_result);
                object.and_then(admin_result).filter(|_| before.is_none())
            }
            _ => None,
        };
        let Some(place) = place else { return Ok(()) };
        if self.is_labelled(attributes.at.namespace.unwrap_or_default()).await? {
            return Ok(());
        }
        let why = format!(
            "admin access to devices requires the `{LABEL}: true` label on the containing namespace"
        );
        let mut errors = FieldErrors::default();
        errors.forbidden(&place.child("adminAccess"), &why);
        let names = &attributes.at.def.names;
        Err(ApiError::invalid(&names.group, &names.kind, attributes.at.name, &errors))
    }
}

impl DeviceAdminAccess {
    async fn is_labelled(&self, namespace: &str) -> Result<bool, ApiError> {
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let found: Option<Namespace> = objects.stored("namespaces", None, namespace).await?;
        let labels = found.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
        Ok(labels.get(LABEL).is_some_and(|value| value == "true"))
    }
}

fn spec(object: &AnyObject) -> Option<&ResourceClaimSpec> {
    let of_template = || object.get::<ResourceClaimTemplate>().map(|it| &it.spec.spec);
    object.get::<ResourceClaim>().map(|claim| &claim.spec).or_else(of_template)
}

/// The first request for devices that others use. The same path with templates, as with Kubernetes.
fn admin_request(spec: &ResourceClaimSpec) -> Option<FieldPath> {
    let is_admin = |request: &DeviceRequest| {
        request.exactly.as_ref().is_some_and(|exactly| exactly.admin_access == Some(true))
    };
    let index = spec.devices.as_ref()?.requests.as_ref()?.iter().position(is_admin)?;
    Some(FieldPath::new("spec").child("devices").child("requests").index(index))
}

/// The first device that others use among those that were allocated.
fn admin_result(object: &AnyObject) -> Option<FieldPath> {
    let allocation = object.get::<ResourceClaim>()?.status.as_ref()?.allocation.as_ref()?;
    let mut results = allocation.devices.as_ref()?.results.as_ref()?.iter();
    let index = results.position(|result| result.admin_access == Some(true))?;
    let devices = FieldPath::new("status").child("allocation").child("devices");
    Some(devices.child("results").index(index))
}
