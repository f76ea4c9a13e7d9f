//! Patches against known behaviour of Kubernetes.

mod apply;
mod plain;
mod strategic;
