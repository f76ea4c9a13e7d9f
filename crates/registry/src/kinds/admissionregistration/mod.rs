//! `admissionregistration.k8s.io`: who else has a say in what is written.

pub(super) mod client_config;
pub(super) mod composition;
pub mod expression;
mod match_resources;
pub(super) mod policy;
pub(super) mod policy_binding;
mod rule;
mod static_name;
pub(super) mod webhook;
