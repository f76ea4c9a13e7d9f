//! The connection to a real login node: logging in, files there and back, and jobs.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod files;
mod jobs;
mod logins;
mod rig;
