//! The node agent: runs the pods that are bound to its node.
//!
//! *Flow.* [`pod::manager`] hears of pods from the API server and gives each a worker
//! ([`pod::worker`]). A worker looks at its pod and at what the runtime shows, asks a pure function
//! ([`pod::next_step`]) what to do, does it, and reports ([`pod::status`], [`pod::status_writer`]).
//! [`pleg`] wakes workers when something happens to their containers.
//!
//! *Guarantees.* The truth about containers is in their labels: a kubelet that restarts finds them
//! again and leaves them alone. While the API server is away, containers run and are restarted as
//! before: what they need of it is remembered ([`objects`]).
//!
//! The rims are traits: [`runtime::Runtime`] (Docker) and [`network::PodNetwork`] (a bridge, Weave Net, CNI).

pub mod addresses;
pub mod admission;
mod check;
pub mod container;
pub mod context;
mod credentials;
mod describe;
#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod hanging_tests;
pub mod housekeeping;
pub mod images;
#[cfg(test)]
mod images_tests;
pub mod kubelet;
pub mod machine;
pub mod metrics;
pub mod network;
pub mod node;
pub mod objects;
pub mod options;
pub mod pleg;
pub mod pod;
pub mod probe;
mod recovery;
#[cfg(test)]
mod resize_tests;
mod rims;
pub mod runtime;
pub mod server;
pub mod services;
pub mod spec;
pub mod tokens;
pub mod usage;
pub mod volumes;
#[cfg(test)]
mod worker_tests;
