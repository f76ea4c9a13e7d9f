//! Gives every Service its virtual IP on this node, held by an nginx of its own that balances over the
//! ready endpoints, and every other node of the network segment a route to its pods.
//!
//! [`plan`] decides what each Service should look like, [`nginx`] what its configuration says: both
//! are functions from values to values. [`reconciler`], the one [`backend`] there is, makes it so, through [`containers`]
//! (Docker) and [`addresses`] (the kernel). It proxies by configuration only: the traffic never passes
//! through this program, and flows on while it is away.
//!
//! [`routes`] is the same for routes, with a loop of its own: neither waits for the other.
//! [`dns`] answers for the names of Services, and is the one thing that is not there while this program is away.
//! [`announcer`] settles with other hosts who answers for load balancers' addresses.
//! [`policy`] keeps from pods what NetworkPolicies don't allow.
//! [`check`] tells how this node differs from all that, and changes nothing.
//! `witness` tells the node controller which other hosts are reached from here.

pub mod addresses;
pub mod announced;
pub mod announcer;
mod args;
pub mod backend;
mod bridged;
pub mod check;
pub mod client_addresses;
mod clients;
pub mod configs;
pub mod containers;
pub mod dns;
pub mod docker;
pub mod family;
pub mod firewall;
pub mod gateway;
mod gateways;
mod health_checks;
mod host_ports;
mod ingresses;
pub mod instance;
mod metrics;
pub mod nginx;
pub mod node_addresses;
mod pace;
pub mod plan;
pub mod policy;
mod program;
pub mod reconciler;
pub mod router;
pub mod routes;
mod self_made;
pub mod status;
pub mod sync;
mod told;
mod wake;
mod witness;
pub mod workers;
pub mod world;

use component::Runtime;

use crate::args::Command;

pub use args::Args;
pub use metrics::Metrics;
pub use routes::RouteMetrics;
pub use wake::Wake;

/// The program: runs until shutdown. An API server or a Docker daemon that is away is waited for.
///
/// # Errors
///
/// Wrong configuration, differences that were to be found, an occupied health address, no right to open a netlink socket.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    match args.command {
        Some(Command::Check) => check::run(&args, &runtime).await,
        None => program::work(&args, &runtime).await,
    }
}
