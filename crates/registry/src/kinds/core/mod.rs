//! The kinds of the core group.

pub(super) mod config_map;
pub(super) mod endpoints;
pub(super) mod event;
pub(super) mod namespace;
pub(super) mod node;
pub(crate) mod pod;
pub(super) mod pod_template;
pub(super) mod secret;
pub(super) mod service;
pub(super) mod service_account;
