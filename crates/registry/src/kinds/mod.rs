//! The kinds, a file each, and the list of them all.

mod admissionregistration;
mod apiextensions;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod flowcontrol;
mod metrics;
mod minik8s;
mod networking;
mod rbac;

use crate::ResourceDef;

pub use core::{pod::binding::bind, service};

/// Every kind whose objects the API keeps, in the order of discovery.
#[must_use]
pub fn all() -> Vec<ResourceDef> {
    vec![
        core::config_map::definition(),
        core::endpoints::definition(),
        core::event::definition(),
        core::limit_range::definition(),
        core::namespace::definition(),
        core::node::definition(),
        core::pod::definition(),
        core::pod_template::definition(),
        apps::replication_controller::definition(),
        core::resource_quota::definition(),
        core::secret::definition(),
        core::service::definition(),
        core::service_account::definition(),
        admissionregistration::webhook::mutating(),
        admissionregistration::webhook::validating(),
        apiextensions::custom_resource_definition::definition(),
        apps::deployment::definition(),
        apps::replica_set::definition(),
        autoscaling::horizontal_pod_autoscaler::definition(),
        autoscaling::horizontal_pod_autoscaler::v1_definition(),
        certificates::certificate_signing_request::definition(),
        coordination::lease::definition(),
        discovery::endpoint_slice::definition(),
        flowcontrol::flow_schema::definition(),
        flowcontrol::priority_level_configuration::definition(),
        networking::ingress_class::definition(),
        networking::ingress::definition(),
        networking::network_policy::definition(),
        rbac::role::cluster_definition(),
        rbac::binding::cluster_definition(),
        rbac::role::definition(),
        rbac::binding::definition(),
        minik8s::dns::definition(),
        minik8s::function::definition(),
        minik8s::gpu_job::definition(),
        minik8s::workflow::definition(),
        minik8s::workflow_run::definition(),
    ]
}

/// The kinds that are asked for an answer, and not kept.
#[must_use]
pub fn reviews() -> Vec<ResourceDef> {
    vec![
        authentication::token_review(),
        authentication::self_subject_review(),
        authorization::subject_access_review(),
        authorization::local_subject_access_review(),
        authorization::self_subject_access_review(),
        authorization::self_subject_rules_review(),
    ]
}

/// The kinds whose objects are made when they are read, and not kept.
#[must_use]
pub fn computed() -> Vec<ResourceDef> {
    vec![metrics::node_metrics(), metrics::pod_metrics()]
}
