//! Calls through the gateway to instances of this process on loopback addresses, and what it says to a control plane
//! in process.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod bodies;
mod control_plane;
mod demand;
mod forwarding;
mod histories;
mod queue;
mod rig;
mod silence;
mod workflows;
