//! The kinds of the core group.

mod access_modes;
pub(super) mod config_map;
pub(super) mod endpoints;
pub(super) mod event;
pub(super) mod limit_range;
pub(super) mod namespace;
pub(super) mod node;
pub(super) mod node_selector;
pub(super) mod persistent_volume;
pub(crate) mod persistent_volume_claim;
pub(crate) mod pod;
pub(super) mod pod_template;
pub(super) mod resource_names;
pub(super) mod resource_quota;
pub(super) mod secret;
pub mod service;
pub(super) mod service_account;
mod volume_plugins;
