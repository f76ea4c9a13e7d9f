//! The controllers. A new one is a file (or folder) here and a line in the list.

mod garbage_collector;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod pod_disruption;
mod pod_gc;
mod replicaset;
mod root_ca_publisher;
mod service_account;
mod service_endpoints;
mod taint_eviction;

use tokio::task::JoinSet;

use crate::context::Context;
use crate::frame::Registered;

/// Builds every controller and has the informers fill its queue. Background work of a controller goes
/// into `tasks`.
pub fn all(context: &Context, tasks: &mut JoinSet<()>) -> Vec<Registered> {
    let monitor = node_lifecycle::monitor(context);
    let mut all = vec![
        replicaset::register(context),
        node_ipam::register(context),
        node_lifecycle::register(context, &monitor, tasks),
        taint_eviction::register(context, &monitor),
        pod_gc::register(context),
        service_endpoints::register_endpoints(context),
        service_endpoints::register_slices(context),
        namespace::register(context),
        service_account::register(context),
        garbage_collector::register(context, tasks),
    ];
    all.extend(root_ca_publisher::register(context, tasks));
    all
}
