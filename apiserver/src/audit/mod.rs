//! The audit log: who asked for what, when, and what came of it, as a policy says
//! (Kubernetes: `k8s.io/apiserver/pkg/audit`).
//!
//! *Guarantees*: no request waits for it. What was told before a stop in order is written before the stop ends, unless
//! nobody takes it within some seconds; what nobody writes as fast as it is told is dropped beyond a buffer. Both are
//! counted and told in the log.

mod backend;
mod backups;
mod event;
mod log;
mod log_file;
mod policy;
mod sink;
mod sources;
mod trail;
mod truncate;
mod webhook;

pub use self::{
    backend::Audit,
    log_file::LogFile,
    policy::PolicyError,
    truncate::{Truncation, TruncationError},
    webhook::Batches,
};
pub(crate) use self::{
    policy::{Asked, Resource},
    trail::{AUDIT_ID, Begin, Trail, id},
};
