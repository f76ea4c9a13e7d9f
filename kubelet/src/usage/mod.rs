//! What the node, its pods and their containers use.
//!
//! *Flow.* The pods' workers tell which containers run ([`running`]). The [`sampler`] reads the files that the
//! kernel has on them ([`cgroup`], [`proc`]) and compares with the time before ([`rates`]); [`announce`] has it do
//! so every ten seconds, or as often as somebody wants it ([`pace`]), and whoever asks the kubelet's server has it
//! do so when the last sample is old. No sample asks the container runtime anything.
//!
//! What has been written to disks is looked for less often ([`disks`]), and what one kind of reader wants only
//! when it asks ([`details`]).
//!
//! *Guarantees.* What cannot be read is absent, and so is what it is part of; nothing is ever made up as zero.

pub(crate) mod announce;
mod cgroup;
pub mod details;
pub mod disks;
mod ended;
pub mod figures;
pub mod host;
pub mod io;
mod pace;
pub mod proc;
pub mod rates;
pub mod running;
pub mod sample;
pub mod sampler;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
