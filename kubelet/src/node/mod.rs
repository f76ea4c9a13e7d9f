//! This node in the API server: its object, its lease, its heartbeat.

pub mod cluster;
pub mod heartbeat;
pub mod lease;
pub mod object;
pub mod pressure;
pub mod registration;
