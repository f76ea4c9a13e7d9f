//! Claims and volumes stay until they are in nobody's use (Kubernetes: `plugin/pkg/admission/storage/storageobjectinuseprotection`):
//! controllers take the finalizers away.

use api_machinery::ApiError;
use api_types::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";

/// See the module.
#[derive(Debug)]
pub(super) struct StorageProtection;

#[async_trait]
impl Plugin for StorageProtection {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.subresource.is_none();
        let Some(object) = object.filter(|_| is_new) else { return Ok(Vec::new()) };
        let (metadata, finalizer) = if let Some(claim) = object.get_mut::<PersistentVolumeClaim>() {
            (&mut claim.metadata, OF_CLAIMS)
        } else if let Some(volume) = object.get_mut::<PersistentVolume>() {
            (&mut volume.metadata, OF_VOLUMES)
        } else {
            return Ok(Vec::new());
        };
        let finalizers = metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|it| it == finalizer) {
            finalizers.push(finalizer.to_owned());
        }
        Ok(Vec::new())
    }
}
