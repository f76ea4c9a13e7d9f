//! `admissionregistration.k8s.io`: who else has a say in what is written.

mod client_config;
mod rule;
pub(super) mod webhook;
