//! What leads into the cluster, and who may speak to whom (Kubernetes: `pkg/apis/networking`).

pub(crate) mod ingress;
pub(crate) mod ingress_class;
pub(super) mod ip_address;
pub(super) mod network_policy;
pub(super) mod service_cidr;
