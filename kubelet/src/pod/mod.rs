//! The life of a pod on this node: what was observed, what to do next (pure), what to report (pure),
//! and the worker that does it.

mod act;
pub mod back_off;
mod conditions;
pub mod container_status;
mod containers;
mod hooks;
pub(crate) mod host_ports;
pub mod manager;
pub mod next_step;
mod operations;
mod outcome;
mod pace;
mod place;
pub mod plan;
mod refresh;
mod report;
mod resize;
mod sandbox;
mod size;
pub mod start;
mod starts;
pub mod status;
pub mod status_input;
mod status_patch;
pub mod status_writer;
mod stop;
mod termination;
pub mod worker;
