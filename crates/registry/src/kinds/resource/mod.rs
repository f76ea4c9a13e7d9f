//! Devices, and who may use them (Kubernetes: `pkg/apis/resource`).

mod allocation;
mod claim;
mod device;
pub(super) mod device_class;
mod device_names;
pub(super) mod resource_claim;
pub(super) mod resource_claim_template;
pub(super) mod resource_slice;
mod selector;
