//! Conditions of a job.

use api_types::{
    jiff::Timestamp,
    meta::{Condition, Time},
    minik8s::GpuJobStatus,
};

/// The condition of a job that is going to fail, once all that it has in Slurm has ended and its results are here.
pub(crate) const FAILURE_TARGET: &str = "FailureTarget";
/// The condition that says whether the compile scripts have done their work.
pub(crate) const COMPILED: &str = "Compiled";
/// The condition that says whether the Slurm cluster does what it is asked to.
pub(crate) const CLUSTER_READY: &str = "ClusterReady";
/// The condition that says that some results are not here, and why.
pub(crate) const RESULTS_INCOMPLETE: &str = "ResultsIncomplete";

/// As long may a message be, in bytes: others' words may be of any length, and are stored with the job.
const LONGEST: usize = 4096;

/// What a condition is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) type_: &'a str,
    pub(crate) holds: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

/// Says it. The time of a condition is that of its last change between true and false.
pub(crate) fn set(status: &mut GpuJobStatus, told: Told<'_>, now: Timestamp) {
    let word = if told.holds { "True" } else { "False" };
    let before = condition(status, told.type_);
    let since = before.filter(|c| c.status == word).map(|c| c.last_transition_time.clone());
    let new = Condition {
        type_: told.type_.to_owned(),
        status: word.to_owned(),
        reason: told.reason.to_owned(),
        message: short(told.message),
        last_transition_time: since.unwrap_or(Time(now)),
        observed_generation: None,
    };
    match status.conditions.iter_mut().find(|c| c.type_ == told.type_) {
        Some(old) => *old = new,
        None => status.conditions.push(new),
    }
}

/// The beginning of a message that is too long.
pub(crate) fn short(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    format!("{}…", &message[..message.floor_char_boundary(LONGEST - "…".len())])
}

/// The condition of this type.
pub(crate) fn condition<'a>(status: &'a GpuJobStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}

/// Whether it is there and holds.
pub(crate) fn is_true(status: &GpuJobStatus, type_: &str) -> bool {
    condition(status, type_).is_some_and(|c| c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        let long = "é".repeat(LONGEST);
        let cut = short(&long);
        assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 4 && cut.ends_with("é…"));
        assert_eq!(short("é"), "é");
    }
}
