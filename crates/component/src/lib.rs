//! What every program does alike, written once: flags, configuration file and environment; logs;
//! signals; `/healthz`, `/livez`, `/readyz` and `/metrics`; the client of the API server; the TLS
//! material of a kubeconfig; leader election; events; networks; the host and whom it asks for names; certificates in Secrets; tasks
//! that may not die unseen.
//!
//! It knows no program: what differs between two of them is a parameter here.

pub mod check;
pub mod client;
pub mod configuration;
pub mod credentials;
pub mod dual_stack;
pub mod events;
mod following;
pub mod health;
pub mod host;
pub mod host_probe;
pub mod leader;
pub mod logging;
pub mod network;
mod patience;
mod process;
mod program;
mod redis_server;
mod replica;
pub mod resolv_conf;
pub mod server_certificate;
mod service_manager;
mod tasks;

pub use client::{ClientArgs, client, wait_for_apiserver};
pub use credentials::Credentials;
pub use health::{Check, Health, Metrics, ServeArgs};
pub use leader::LeaderArgs;
pub use process::ProcessMetrics;
pub use program::{Runtime, install_crypto_provider, main, main_from, raise_file_limit};
pub use redis_server::{RedisArgs, RedisServer};
pub use replica::{Replica, ReplicaArgs};
pub use tasks::{Panicked, Tasks};
