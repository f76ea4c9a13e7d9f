//! The program against a real Slurm and its ssh server, with a control plane in process: whatever goes wrong, a job has one
//! job of Slurm for each attempt, ends in the right state, and has its results here.
//!
//! One cluster serves all tests; each job has a path of its own to the login node, which can be cut.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod faults;
mod kills;
mod results;
mod runs;
mod world;
