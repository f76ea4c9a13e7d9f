//! The life of a pod on this node: what was observed, what to do next (pure), what to report (pure),
//! and the worker that does it.

pub mod back_off;
mod conditions;
pub mod container_status;
mod containers;
mod hooks;
pub mod manager;
pub mod next_step;
pub mod observed;
mod pace;
mod report;
mod sandbox;
pub mod spec;
pub mod start;
mod starts;
pub mod status;
mod status_patch;
pub mod status_writer;
mod stop;
mod termination;
pub mod worker;
#[cfg(test)]
mod worker_tests;

/// An error with its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
