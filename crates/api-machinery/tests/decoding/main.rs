//! Texts to values: against what Kubernetes' own code says of the same texts.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain fails, as it should")]

mod json;
mod quantities;
mod yaml;
