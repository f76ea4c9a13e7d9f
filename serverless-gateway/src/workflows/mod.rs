//! Runs of workflows: each is driven by one gateway at a time, which holds a lease in the run's status.
//!
//! *Durable.* What a step returned is stored before anything that follows from it begins, by one write for each result
//! (or for several that came at once); the write renews the lease too. A gateway that takes over a run begins with what
//! is stored: it asks again for what was being called, with the same `Idempotency-Key`, and for nothing that was
//! answered. Compare-and-swap lets one of two gateways win that both believe a run to be theirs.
//!
//! *Writes.* A run of `n` calls one after another takes `n + 2` writes: it is created, taken, and after each call
//! written once, the last of which also ends it. States that call nothing take none, or one for
//! hundreds of them. Of what comes back, as a write's answer and by the watch, only what is news to the holder is read.
//!
//! *Warm.* All functions that a run may be about to call ([`workflow::Engine::ahead`]) are woken when it is taken: they
//! start while the first one works. From then on those that come next ([`workflow::Engine::next`]) are, after each step;
//! what comes next for certain is kept awake until then, what a Choice may pass by is not. What follows a long Wait is
//! woken half a minute before that ends.

mod call;
mod driver;
mod http;
mod lease;
mod metrics;
mod news;
mod runs;
mod status;
mod write;

pub use call::{CallFunction, FunctionCall, NoAnswer};
pub use http::router;
pub use runs::Runs;
