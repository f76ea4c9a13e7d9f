//! The standards as Kubernetes has them: its own verdicts and policies are the expectations.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain fails, as it should")]

mod pods;
mod policies;
mod wording;
