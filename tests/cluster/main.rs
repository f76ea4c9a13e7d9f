//! What a user of a real cluster can count on, tried on one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod autoscaling;
mod conformance;
mod connections;
mod deployments;
mod function_faults;
mod function_images;
mod function_instances;
mod functions;
mod gpu_jobs;
mod harness;
mod hosts;
mod leaders;
mod lost_node;
mod manifests;
mod monitoring;
mod names;
mod pods;
mod reboot;
mod replicasets;
mod restarts;
mod rights;
mod scheduling;
mod services;
mod stock_clients;
mod unmodified_clients;
mod up;
mod warm_pool;
mod workflows;
