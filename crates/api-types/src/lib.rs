//! The objects of the API as plain data: Kubernetes' own, re-exported from `k8s-openapi`, and ours
//! (`minik8s.io/v1`), `metrics.k8s.io`, and what of the Gateway API is served. No behaviour lives here; that is `registry`'s.

pub use k8s_openapi::{
    self, ByteString, ClusterResourceScope, Metadata, NamespaceResourceScope, Resource, api,
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1 as meta, runtime::RawExtension,
        util::intstr::IntOrString,
    },
    jiff,
    kube_aggregator::pkg::apis::apiregistration,
};

pub mod apiextensions;
pub mod gateway;
pub mod metrics;
pub mod minik8s;
