//! What a user of a real cluster can count on, tried on one.

mod harness;
mod manifests;
mod pods;
mod replicasets;
mod restarts;
mod scheduling;
mod services;
mod up;
