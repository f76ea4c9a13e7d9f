//! This node in the API server: its object, its lease, its heartbeat; and the services it tells containers of.

pub mod cluster;
pub mod heartbeat;
pub mod lease;
pub mod object;
pub mod registration;
pub mod resources;
pub mod services;
