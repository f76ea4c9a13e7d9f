//! The kinds, a file each, and the list of them all.

mod apps;
mod coordination;
mod core;
mod discovery;
mod minik8s;

use crate::ResourceDef;

pub use core::pod::binding::bind;

/// Every kind that the API serves, in the order of discovery.
#[must_use]
pub fn all() -> Vec<ResourceDef> {
    vec![
        core::config_map::definition(),
        core::endpoints::definition(),
        core::event::definition(),
        core::namespace::definition(),
        core::node::definition(),
        core::pod::definition(),
        core::secret::definition(),
        core::service::definition(),
        core::service_account::definition(),
        apps::replica_set::definition(),
        coordination::lease::definition(),
        discovery::endpoint_slice::definition(),
        minik8s::dns::definition(),
        minik8s::function::definition(),
        minik8s::gpu_job::definition(),
        minik8s::workflow::definition(),
        minik8s::workflow_run::definition(),
    ]
}
