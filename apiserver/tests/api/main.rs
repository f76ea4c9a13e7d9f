//! The API in process: every request passes the whole chain down to a real store, no socket involved.

mod deletion;
mod discovery;
mod harness;
mod listing;
mod namespaces;
mod patching;
mod pods;
mod services;
mod tls;
mod watching;
mod writing;
