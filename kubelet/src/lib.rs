//! The node agent: runs the pods that are bound to its node.
//!
//! *Flow.* [`pod::manager`] hears of pods from the API server and gives each a worker
//! ([`pod::worker`]). A worker looks at its pod and at what the runtime shows, asks a pure function
//! ([`pod::next_step`]) what to do, does it, and reports ([`pod::status`], [`pod::status_writer`]).
//! [`pleg`] wakes workers when something happens to their containers.
//!
//! *Guarantees.* The truth about containers is in their labels: a kubelet that restarts finds them
//! again and leaves them alone. Nothing here waits for the API server; while it is away, containers
//! run and are restarted as before.
//!
//! The rims are traits: [`runtime::Runtime`] (Docker) and [`network::PodNetwork`] (a bridge).

pub mod container;
pub mod context;
pub mod housekeeping;
pub mod kubelet;
pub mod network;
pub mod node;
pub mod options;
pub mod pleg;
pub mod pod;
pub mod probe;
pub mod runtime;
pub mod server;
pub mod volumes;
