//! What carries the Services on a node, as the loop over them needs it: so that there can be several ways.

pub mod gateway;
mod nftables;
mod nginx;
pub mod router;
pub mod service;
mod service_addresses;
pub mod shared;

use std::{collections::BTreeSet, net::IpAddr};

use async_trait::async_trait;

pub(crate) use nftables::differences;
pub use nftables::{Leftover, Nftables, WithoutRules};
pub use nginx::Nginx;
pub use shared::SharedNginx;

use crate::{
    gateway::GatewayPlan,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Summary},
    router::RouterPlan,
};

/// Carries the Services that it was told of. What it costs to tell it of one, and to have that one carried
/// by the next pass, does not depend on how many others there are.
#[async_trait]
pub trait Backend: Send {
    /// Gets going what ran before, with its last configuration, without knowing what is wanted
    /// now: for a node that comes up while no API server answers. Gives what can't be got going, and may
    /// be called again.
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError>;

    /// Looks at the node where the last look is too long ago; gives all addresses of this host.
    async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError>;

    /// The containers may not be what they were: has the next look look at them.
    fn distrust_containers(&mut self);

    /// These are all Services.
    fn want_all(&mut self, plans: Vec<ServicePlan>);

    /// This is one of the Services.
    fn want(&mut self, plan: ServicePlan);

    /// There is no Service of this uid any more.
    fn forget(&mut self, uid: &str);

    /// This is what the router of DNS objects does; without one there is none.
    fn want_router(&mut self, plan: Option<RouterPlan>);

    /// These are all Gateways.
    fn want_gateways(&mut self, plans: &[GatewayPlan]);

    /// Does what there is to do for Services that are not known to be as they should. What was never
    /// wanted and is found on the node goes.
    async fn pass(&mut self) -> Result<Summary, ReconcileError>;
}

/// An event is about the object, whichever of its nginxes is not as it should be.
fn about_objects(mut summary: Summary) -> Summary {
    let suffixes = [service::OUTSIDE, router::AT_HOST];
    for uid in summary.failed.iter_mut().filter_map(|failure| failure.uid.as_mut()) {
        let own = suffixes.into_iter().find_map(|suffix| uid.strip_suffix(suffix));
        if let Some(own) = own.map(str::to_owned) {
            *uid = own;
        }
    }
    summary
}
