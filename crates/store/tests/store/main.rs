//! The store's tests: one suite for every backend, then what is particular to one of them, and the cache.

mod backends;
mod cache;
mod durability;
mod faulty;
mod model;
mod suite;
mod wait;
