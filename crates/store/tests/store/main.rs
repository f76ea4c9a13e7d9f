//! The store's tests: one suite for every backend, then what is particular to one of them, and the cache.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod cache;
mod connection;
mod disk;
mod durability;
mod faults;
mod faulty;
mod kills;
mod model;
mod power_cut;
mod selecting;
mod suite;
mod wait;
