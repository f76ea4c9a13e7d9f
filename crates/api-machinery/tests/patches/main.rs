//! Patches against known behaviour of Kubernetes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain fails, as it should")]

mod apply;
mod plain;
mod strategic;
mod strategies;
