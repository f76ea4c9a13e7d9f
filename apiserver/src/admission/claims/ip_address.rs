//! The object that claims an address: what Kubernetes has, and the UID of the Service. Its own UID is of this claim alone.

use std::{collections::BTreeMap, net::IpAddr};

use api_machinery::{ApiError, IpFamily};
use api_types::{
    api::networking::v1::{IPAddress, IPAddressSpec, ParentReference},
    jiff::Timestamp,
    meta::{ObjectMeta, Time},
};
use store::Entry;
use uuid::Uuid;

use super::owner::{Found, Owner};

const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";
const SERVICE_UID: &str = "minik8s.io/service-uid";

pub(super) fn encode(address: IpAddr, owner: &Owner, now: Timestamp) -> Result<Vec<u8>, ApiError> {
    let labels = [(FAMILY, IpFamily::of(address).as_str()), (MANAGED_BY, ALLOCATOR)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let uid = owner.uid.iter().map(|uid| (SERVICE_UID.to_owned(), uid.clone()));
    let metadata = ObjectMeta {
        name: Some(address.to_string()),
        uid: Some(Uuid::new_v4().to_string()),
        // Objects tell whole seconds.
        creation_timestamp: Timestamp::from_second(now.as_second()).ok().map(Time),
        generation: Some(1),
        labels: Some(labels.into()),
        annotations: Some(uid.collect::<BTreeMap<_, _>>()).filter(|all| !all.is_empty()),
        ..ObjectMeta::default()
    };
    let parent_ref = ParentReference {
        group: None,
        resource: "services".to_owned(),
        namespace: owner.namespace.clone(),
        name: owner.name.clone().unwrap_or_default(),
    };
    let object = IPAddress { metadata, spec: IPAddressSpec { parent_ref } };
    serde_json::to_vec(&object).map_err(ApiError::internal)
}

/// `None` if it is no such object: those have names.
pub(super) fn decode(entry: &Entry) -> Option<Found> {
    let IPAddress { metadata, spec } = serde_json::from_slice(&entry.value).ok()?;
    metadata.name.as_ref()?;
    let labels = metadata.labels.unwrap_or_default();
    let uid = metadata.annotations.and_then(|mut all| all.remove(SERVICE_UID));
    let ParentReference { namespace, name, .. } = spec.parent_ref;
    let owner = Owner { namespace, name: Some(name), uid };
    let is_ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == ALLOCATOR);
    Some(Found { owner, revision: entry.revision, is_ours })
}
