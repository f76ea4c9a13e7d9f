//! The API in process: every request passes the whole chain down to a real store, no socket involved.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod applying;
mod certificates;
mod coding;
mod custom_resources;
mod damage;
mod decoding;
mod definitions;
mod deletion;
mod discovery;
mod duties;
mod faulty;
mod harness;
mod impersonating;
mod ingresses;
mod kinds;
mod listing;
mod namespaces;
mod openapi;
mod outages;
mod parameters;
mod patching;
mod pods;
mod proxying;
mod quotas;
mod rbac;
mod services;
mod swapping;
mod tls;
mod tokens;
mod upkeep;
mod usage;
mod watching;
mod webhooks;
mod writing;
