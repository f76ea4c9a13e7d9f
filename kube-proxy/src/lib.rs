//! kube-proxy
pub mod addresses;
pub mod cidr;
pub mod configs;
pub mod containers;
pub mod docker;
pub mod nginx;
pub mod plan;
pub mod reconciler;
