//! What `squeue`, `sacct` and `scontrol` print, as rows: one for each task of an array and for each step.

use std::collections::BTreeMap;

use api_types::{
    jiff::{civil::DateTime, tz::TimeZone},
    meta::Time,
};

use super::state::State;

/// What `squeue -o` is asked for. What users choose comes at its end.
pub(super) const SQUEUE_FORMAT: &str = "%F|%K|%T|%r|%P|%N|%V|%S|%e|%j";
/// What `sacct --format` is asked for, likewise.
pub(super) const SACCT_FORMAT: &str = "JobID,State,ExitCode,ElapsedRaw,Partition,NodeList,AllocTRES,\
    TotalCPU,MaxRSS,Start,End,Submit,JobName";

/// One line about one job, task of an array, or step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The number that `sbatch` gave.
    pub(super) id: String,
    /// The name of the job, or of the step.
    pub(super) name: String,
    /// Of a step, such as `batch`.
    pub(super) step: Option<String>,
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) partition: Option<String>,
    pub(super) nodes: Option<String>,
    pub(super) submit_time: Option<Time>,
    pub(super) start_time: Option<Time>,
    pub(super) end_time: Option<Time>,
    pub(super) elapsed_seconds: Option<i64>,
    /// By the names that `sacct` has for them.
    pub(super) usage: BTreeMap<String, String>,
}

/// The rows of `squeue -h -o` with [`SQUEUE_FORMAT`].
pub(super) fn of_squeue(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.splitn(10, '|').collect();
        let [id, _, state, reason, partition, nodes, submit, start, end, name] = fields[..] else {
            return None;
        };
        let id = number(id)?;
        Some(Row {
            reason: known(reason),
            partition: known(partition),
            nodes: known(nodes),
            submit_time: time(submit),
            start_time: time(start),
            end_time: time(end),
            ..Row::new(id, name, state)
        })
    };
    text.lines().filter_map(row).collect()
}

/// The rows of `sacct -P -n` with [`SACCT_FORMAT`].
pub(super) fn of_sacct(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.splitn(13, '|').collect();
        let [job, state, exit, elapsed, partition, nodes, tres, cpu, rss, start, end, submit, name] =
            fields[..]
        else {
            return None;
        };
        let (job, step) = match job.split_once('.') {
            Some((job, step)) => (job, Some(step.to_owned())),
            None => (job, None),
        };
        // Those of an array have `_3` or `_[4-9]` behind the number, those of a heterogeneous job `+0`.
        let id = number(job.split(['_', '+']).next()?)?;
        let (exit_code, signal) = exit_code(exit);
        let usage = [("AllocTRES", tres), ("TotalCPU", cpu), ("MaxRSS", rss)];
        let usage =
            usage.into_iter().filter_map(|(name, value)| Some((name.to_owned(), known(value)?)));
        Some(Row {
            step,
            exit_code,
            signal,
            partition: known(partition),
            nodes: known(nodes),
            elapsed_seconds: elapsed.parse().ok(),
            start_time: time(start),
            end_time: time(end),
            submit_time: time(submit),
            usage: usage.collect(),
            ..Row::new(id, name, state)
        })
    };
    text.lines().filter_map(row).collect()
}

/// The rows of `scontrol show job -o`.
pub(super) fn of_scontrol(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let field = |name: &str| field(line, name);
        let id = number(field("ArrayJobId").or_else(|| field("JobId"))?)?;
        let (exit_code, signal) = field("ExitCode").map(exit_code).unwrap_or_default();
        let tres = field("AllocTRES").or_else(|| field("TRES")).and_then(known);
        Some(Row {
            reason: field("Reason").and_then(known),
            exit_code,
            signal,
            partition: field("Partition").and_then(known),
            nodes: field("NodeList").and_then(known),
            submit_time: field("SubmitTime").and_then(time),
            start_time: field("StartTime").and_then(time),
            end_time: field("EndTime").and_then(time),
            elapsed_seconds: field("RunTime").and_then(duration),
            usage: tres.map(|tres| ("AllocTRES".to_owned(), tres)).into_iter().collect(),
            ..Row::new(id, field("JobName")?, field("JobState")?)
        })
    };
    text.lines().filter_map(row).collect()
}

/// Of `Name=value` fields between blanks, the first of that name: what users choose comes at the end of the
/// line, except for the name, which is another one then.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

fn number(text: &str) -> Option<String> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.to_owned())
}

/// A value, if Slurm has one.
fn known(value: &str) -> Option<String> {
    let unknown = ["", "None", "(null)", "N/A", "n/a", "None assigned", "Unknown"];
    (!unknown.contains(&value)).then(|| value.to_owned())
}

/// `3:0` is an exit code, `0:11` a signal.
fn exit_code(text: &str) -> (Option<i32>, Option<i32>) {
    let (code, signal) = text.split_once(':').unwrap_or((text, "0"));
    let signal = signal.parse().ok().filter(|signal| *signal != 0);
    (code.parse().ok(), signal)
}

/// As Slurm's commands print times in UTC.
fn time(text: &str) -> Option<Time> {
    let parsed: DateTime = text.parse().ok()?;
    parsed.to_zoned(TimeZone::UTC).ok().map(|time| Time(time.timestamp()))
}

/// `[days-]hours:minutes:seconds`, in seconds.
fn duration(text: &str) -> Option<i64> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds = days.parse::<i64>().ok()?;
    let parts: Vec<&str> = rest.split(':').collect();
    let [hours, minutes, rest] = parts[..] else { return None };
    for (part, unit) in [(hours, 24), (minutes, 60), (rest, 60)] {
        seconds = seconds.checked_mul(unit)?.checked_add(part.parse().ok()?)?;
    }
    Some(seconds)
}

// === impl Row ===

impl Row {
    fn new(id: String, name: &str, state: &str) -> Self {
        let Ok(state) = state.parse();
        Row {
            id,
            name: name.to_owned(),
            step: None,
            state,
            reason: None,
            exit_code: None,
            signal: None,
            partition: None,
            nodes: None,
            submit_time: None,
            start_time: None,
            end_time: None,
            elapsed_seconds: None,
            usage: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
