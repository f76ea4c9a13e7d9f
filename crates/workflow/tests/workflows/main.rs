//! Documents and what their runs do, with functions and a clock that the tests make up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ahead;
mod choices;
mod driver;
mod errors;
mod examples;
mod faults;
mod graph;
mod intrinsics;
mod limits;
mod paths;
mod properties;
mod states;
