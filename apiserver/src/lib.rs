//! The API server: the only door to the store. It serves the Kubernetes API over HTTPS, or in process to tests.
//!
//! A request passes [`service`] (parse → authorize → perform), a verb of [`verbs`] (admission → the kind's strategy →
//! compare-and-swap), and the store. Reads of collections come from a cache of encoded objects.

mod admission;
mod authentication;
mod authorization;
mod body;
mod bootstrap;
mod caching;
mod call;
mod catalogue;
mod config;
mod custom_resources;
mod discovery;
mod duties;
mod encoded;
mod endpoints;
mod flags;
mod form;
mod health;
mod history;
mod identity;
mod impersonation;
mod internal;
mod kubelet_client;
mod metrics;
mod negotiation;
mod nonresource;
mod objects;
mod openapi;
mod peer;
pub mod pki;
mod pod_client;
mod protobuf;
mod publish;
mod query;
mod rbac;
mod request;
mod respond;
mod reviews;
mod scrape_targets;
mod serve;
mod server;
mod service;
mod service_endpoints;
mod state;
mod storage;
mod subresources;
mod suffix;
mod tokens;
mod upkeep;
mod usage;
mod verbs;

pub use catalogue::CatalogueError;
pub use config::{Config, PortRange};
pub use duties::DutyError;
pub use flags::{Flags, main, main_with};
pub use identity::Identity;
pub use kubelet_client::KubeletClient;
pub use server::ApiServer;
pub use service::InProcess;
pub use tokens::{KeyError, Tokens};
