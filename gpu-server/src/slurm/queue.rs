//! What others wait for.

use serde::Serialize;

use super::submit::{PRELUDE, unanswered};
use crate::{
    remote::{Remote, quote},
    ssh::Error,
};

/// The cluster's partitions and the jobs in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Those that the user may see.
    pub partitions: Vec<Partition>,
    /// Those that wait or run, first those that run, then in the order in which they come.
    pub jobs: Vec<QueuedJob>,
}

/// One partition and one kind of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether it is the cluster's default.
    pub default: bool,
    /// `up` or `down`.
    pub availability: String,
    /// How long a job may run.
    pub time_limit: String,
    /// The number of its nodes.
    pub nodes: String,
    /// What the nodes do.
    pub state: String,
    /// CPUs: allocated, idle, others, and in all.
    pub cpus: String,
    /// Generic resources of each node, such as GPUs.
    pub gres: String,
}

/// One job in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuedJob {
    /// Slurm's number.
    pub id: String,
    /// Its partition.
    pub partition: String,
    /// Whose it is.
    pub user: String,
    /// In what state it is.
    pub state: String,
    /// Its nodes, or why it waits.
    pub reason: String,
    /// How long it has run.
    pub time: String,
    /// How long it may.
    pub time_limit: String,
    /// The number of its nodes.
    pub nodes: String,
    /// Its name, which may be anything.
    pub name: String,
}

/// How many jobs of its partition wait before the job `id`, if it waits.
pub async fn queue_position(remote: &Remote, id: &str) -> Result<Option<i32>, Error> {
    let id = quote(id)?;
    let script = format!(
        "{PRELUDE}partition=$(squeue -h -t PD -j {id} -o %P 2>/dev/null | head -n 1)\n\
         [ -z \"$partition\" ] || squeue -h -t PD -p \"$partition\" -S -p,i -o %F"
    );
    let text = remote.run(&script).await?.text("asking squeue");
    Ok(position(&text.map_err(unreachable)?, &id))
}

/// The queue, as the user may see it.
pub async fn queue(remote: &Remote) -> Result<Queue, Error> {
    let script = format!(
        "{PRELUDE}sinfo -h -o '%P|%a|%l|%D|%T|%C|%G' && echo == && \
         squeue -h -S -T,-p,i -o '%i|%P|%u|%T|%R|%M|%l|%D|%j'"
    );
    let text = remote.run(&script).await?.text("asking sinfo and squeue").map_err(unreachable)?;
    Ok(parse(&text))
}

fn unreachable(error: Error) -> Error {
    match error {
        Error::Failed { message, .. } => Error::Unreachable(unanswered(&message)),
        other => other,
    }
}

/// An array is one job, wherever its tasks are.
fn position(text: &str, id: &str) -> Option<i32> {
    let mut before: Vec<&str> = text.lines().take_while(|line| *line != id).collect();
    let found = text.lines().any(|line| line == id);
    before.sort_unstable();
    before.dedup();
    found.then(|| i32::try_from(before.len()).unwrap_or(i32::MAX))
}

fn parse(text: &str) -> Queue {
    let (partitions, jobs) = text.split_once("==\n").unwrap_or((text, ""));
    Queue {
        partitions: partitions.lines().filter_map(partition).collect(),
        jobs: jobs.lines().filter_map(job).collect(),
    }
}

fn partition(line: &str) -> Option<Partition> {
    let fields: Vec<String> = line.split('|').map(str::to_owned).collect();
    let [name, availability, time_limit, nodes, state, cpus, gres] = fields.try_into().ok()?;
    let default = name.ends_with('*');
    let name = name.trim_end_matches('*').to_owned();
    Some(Partition { name, default, availability, time_limit, nodes, state, cpus, gres })
}

/// The name is the last, and may have anything but line ends in it.
fn job(line: &str) -> Option<QueuedJob> {
    let fields: Vec<String> = line.splitn(9, '|').map(str::to_owned).collect();
    let [id, partition, user, state, reason, time, time_limit, nodes, name] =
        fields.try_into().ok()?;
    Some(QueuedJob { id, partition, user, state, reason, time, time_limit, nodes, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_jobs_and_not_their_tasks() {
        assert_eq!(position("10\n11\n11\n12\n", "12"), Some(2));
        assert_eq!(position("10\n", "10"), Some(0));
        assert_eq!(position("10\n", "11"), None);
        assert_eq!(position("", "11"), None);
    }

    #[test]
    fn partitions_and_jobs_are_told_apart() {
        let text = "dgx2*|up|infinite|1|idle|0/8/0/8|gpu:4\ndebug|up|30:00|2|down|0/0/16/16|(null)\n\
                    ==\n7|dgx2|alice|RUNNING|n1|0:03|UNLIMITED|1|a|b\n";
        let queue = parse(text);
        let names: Vec<_> = queue.partitions.iter().map(|p| (p.name.as_str(), p.default)).collect();
        assert_eq!(names, [("dgx2", true), ("debug", false)]);
        assert_eq!(queue.jobs[0].name, "a|b");
        assert_eq!(queue.jobs[0].reason, "n1");
    }
}
