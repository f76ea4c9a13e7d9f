//! NetworkPolicy: who may speak to the pods of this host, and to whom they may.
//!
//! [`facts`] are what policies go by of the API's objects, `ways` where servers lead to pods; [`compile`] makes [`Rules`] of them, and [`table`] the text that the
//! kernel is given: functions from values to values. `sync` keeps the kernel's table so.

pub mod compile;
pub mod facts;
mod outlook;
pub mod ranges;
pub mod rules;
mod selection;
mod sync;
pub mod table;
mod watch;
mod ways;

pub use compile::compile;
pub use facts::{Cluster, Here, Pod, Policy};
pub use rules::{Allow, Peers, PortRange, Ports, Protocol, Rules};
pub use sync::{Keeper, Outlets, remove};
pub(crate) use sync::{differences, left};
