//! The kinds, a file each, and the list of them all.

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod metrics;
mod minik8s;
mod networking;
mod node;
mod node_labels;
mod policy;
mod rbac;
mod resource;
mod scheduling;
mod storage;

use crate::ResourceDef;

pub use core::{
    pod::{binding::bind, mirror::MIRROR},
    service,
};

/// The priorities of the system's own pods.
pub use scheduling::priority_class::SYSTEM_CLASSES;

/// Expressions of admission.
pub use admissionregistration::{composition::Composition, expression as admission_expression};

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
        core::persistent_volume_claim::definition(),
        core::persistent_volume::definition(),
        core::pod::definition(),
        core::pod_template::definition(),
        apps::replication_controller::definition(),
        core::resource_quota::definition(),
        core::secret::definition(),
        core::service::definition(),
        core::service_account::definition(),
        admissionregistration::policy::mutating(),
        admissionregistration::policy_binding::mutating(),
        admissionregistration::webhook::mutating(),
        admissionregistration::policy::validating(),
        admissionregistration::policy_binding::validating(),
        admissionregistration::webhook::validating(),
        apiextensions::custom_resource_definition::definition(),
        apiregistration::api_service::definition(),
        apps::controller_revision::definition(),
        apps::daemon_set::definition(),
        apps::deployment::definition(),
        apps::replica_set::definition(),
        apps::stateful_set::definition(),
        autoscaling::horizontal_pod_autoscaler::definition(),
        autoscaling::horizontal_pod_autoscaler::v1_definition(),
        batch::cron_job::definition(),
        batch::job::definition(),
        certificates::certificate_signing_request::definition(),
        coordination::lease::definition(),
        discovery::endpoint_slice::definition(),
        events::event::definition(),
        flowcontrol::flow_schema::definition(),
        flowcontrol::priority_level_configuration::definition(),
        networking::ingress_class::definition(),
        networking::ingress::definition(),
        networking::ip_address::definition(),
        networking::network_policy::definition(),
        networking::service_cidr::definition(),
        policy::pod_disruption_budget::definition(),
        node::runtime_class::definition(),
        rbac::role::cluster_definition(),
        rbac::binding::cluster_definition(),
        rbac::role::definition(),
        rbac::binding::definition(),
        resource::device_class::definition(),
        resource::resource_claim::definition(),
        resource::resource_claim_template::definition(),
        resource::resource_slice::definition(),
        scheduling::priority_class::definition(),
        storage::csi_driver::definition(),
        storage::csi_node::definition(),
        storage::csi_storage_capacity::definition(),
        storage::storage_class::definition(),
        storage::volume_attachment::definition(),
        storage::volume_attributes_class::definition(),
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
