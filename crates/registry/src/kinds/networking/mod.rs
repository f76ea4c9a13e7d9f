//! What leads into the cluster (Kubernetes: `pkg/apis/networking`).

pub(crate) mod ingress;
pub(crate) mod ingress_class;
