//! What has become of jobs.
//!
//! `squeue` knows what goes on now, and for some minutes what has ended; `sacct` knows what has ended, with what it used,
//! after some seconds, if there is accounting. Where the two leave a question, `scontrol` is asked, and at last what the
//! job has left in its directory.

use std::collections::{BTreeMap, BTreeSet};

use api_types::meta::Time;

use super::{
    rows::{Row, SACCT_FORMAT, SQUEUE_FORMAT, of_sacct, of_scontrol, of_squeue},
    state::State,
    submit::{PRELUDE, unanswered},
    task::Submitted,
};
use crate::{
    remote::{Remote, quote},
    ssh::Error,
};

/// As many jobs are asked about at a time: what is said of their arrays must be of a size that can be taken.
const BATCH: usize = 8;

/// A job, with all tasks of its array.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// In what state it is: that of the task that is furthest from its end; when all have ended, that of the first that
    /// has failed, if any has.
    pub state: State,
    /// Why it waits, or has failed, in Slurm's words.
    pub reason: Option<String>,
    /// That of its script, when it has ended.
    pub exit_code: Option<i32>,
    /// What ended it.
    pub signal: Option<i32>,
    /// The partition it is in.
    pub partition: Option<String>,
    /// The nodes it runs on.
    pub nodes: Option<String>,
    /// When it was submitted.
    pub submit_time: Option<Time>,
    /// When it began, or is thought to begin.
    pub start_time: Option<Time>,
    /// When it ended.
    pub end_time: Option<Time>,
    /// How long it ran.
    pub elapsed_seconds: Option<i64>,
    /// What it was given and used, by the names that `sacct` has for it.
    pub usage: BTreeMap<String, String>,
}

/// What one of the commands said.
#[derive(Debug)]
enum Answer {
    Rows(Vec<Row>),
    /// It is of no use on this cluster.
    Disabled,
    /// It has no answer now.
    Silent(String),
}

/// What has become of jobs, by their numbers. Slurm knows nothing, or nothing any more, of those that are missing in the
/// answer.
///
/// # Errors
/// [`Error::Unreachable`] also if Slurm, or the part of it that would know, does not answer.
pub async fn observe(
    remote: &Remote,
    jobs: &[Submitted],
) -> Result<BTreeMap<String, Observed>, Error> {
    let mut observed = BTreeMap::new();
    for jobs in jobs.chunks(BATCH) {
        observed.extend(observe_batch(remote, jobs).await?);
    }
    Ok(observed)
}

async fn observe_batch(
    remote: &Remote,
    jobs: &[Submitted],
) -> Result<BTreeMap<String, Observed>, Error> {
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    let text = remote.run(&overview_script(&ids)?).await?.text("asking squeue and sacct")?;
    let (queue, accounts) = overview(&text, jobs)?;
    let open = open(&ids, &queue, &accounts);
    let mut details = Details::default();
    if !open.is_empty() {
        let asked: Vec<_> = jobs.iter().filter(|job| open.contains(job.id.as_str())).collect();
        let text = remote.run(&detail_script(&asked)?).await?.text("asking scontrol")?;
        details = Details::parse(&text, jobs);
    }
    let mut observed = BTreeMap::new();
    for id in ids {
        let found = settle(id, &queue, &accounts, &details)?;
        observed.extend(found.map(|found| (id.to_owned(), found)));
    }
    Ok(observed)
}

/// Each command's output is followed by a line that tells its exit code.
fn overview_script(ids: &[&str]) -> Result<String, Error> {
    let ids = quote(&ids.join(","))?;
    Ok(format!(
        "{PRELUDE}squeue -h -r -t all -j {ids} -o '{SQUEUE_FORMAT}' 2>&1; echo \"==squeue $?\"\n\
         timeout 20 sacct -n -P -j {ids} --format={SACCT_FORMAT} 2>&1; echo \"==sacct $?\"\n"
    ))
}

fn detail_script(jobs: &[&Submitted]) -> Result<String, Error> {
    let mut script = String::from(PRELUDE);
    for Submitted { id, directory, .. } in jobs {
        let (id, directory) = (quote(id)?, quote(directory)?);
        script.push_str(&format!(
            "timeout 20 scontrol show job -o {id} 2>/dev/null\n\
             for f in {directory}/begun*; do\n\
             [ -e \"$f\" ] || continue\n\
             code=$(head -c 20 {directory}/exit-status\"${{f##*/begun}}\" 2>/dev/null | tr -cd 0-9)\n\
             echo \"==exit {id} ${{code:-none}} $(head -c 20 \"$f\" | tr -cd 0-9)\"\n\
             done\n"
        ));
    }
    script.push_str("true\n");
    Ok(script)
}

/// What `squeue` and `sacct` said.
fn overview(text: &str, jobs: &[Submitted]) -> Result<(Vec<Row>, Answer), Error> {
    let (queue, rest) = section(text, "squeue")?;
    let (accounts, _) = section(rest, "sacct")?;
    let queue = match queue {
        (text, 0) => own(of_squeue(text), jobs),
        // What it says of a single job that it no longer knows.
        (text, _) if text.contains("Invalid job id specified") => Vec::new(),
        (text, _) => return Err(Error::Unreachable(unanswered(text))),
    };
    let accounts = match accounts {
        (text, 0) => Answer::Rows(own(of_sacct(text), jobs)),
        (text, _) if text.contains("storage is disabled") => Answer::Disabled,
        (text, _) => Answer::Silent(text.to_owned()),
    };
    Ok((queue, accounts))
}

/// Without the jobs that only have the number of one of these.
fn own(mut rows: Vec<Row>, jobs: &[Submitted]) -> Vec<Row> {
    let is_own = |row: &Row| jobs.iter().any(|job| job.id == row.id && job.name == row.name);
    // What is said of a step counts beside what is said of its job only.
    rows.retain(|row| row.step.is_some() || is_own(row));
    rows
}

/// A command's output and exit code, and what follows.
fn section<'a>(text: &'a str, command: &str) -> Result<((&'a str, i32), &'a str), Error> {
    let cut = || Error::Unreachable(format!("the answer of {command} is not whole"));
    let (output, rest) = text.split_once(&format!("=={command} ")).ok_or_else(cut)?;
    let (code, rest) = rest.split_once('\n').ok_or_else(cut)?;
    Ok(((output, code.parse().map_err(|_| cut())?), rest))
}

/// The jobs about which more must be asked.
fn open<'a>(ids: &[&'a str], queue: &[Row], accounts: &Answer) -> BTreeSet<&'a str> {
    let is_open = |id: &&&str| {
        let queue = Observed::of(queue, id);
        let waits = queue.is_some_and(|queue| !queue.state.is_final());
        !waits && !accounts.job(id).is_some_and(|job| job.is_settled())
    };
    ids.iter().filter(is_open).copied().collect()
}

/// `squeue`'s word counts while the job goes on: a job that was requeued has ended, too, in `sacct`'s.
fn settle(
    id: &str,
    queue: &[Row],
    accounts: &Answer,
    details: &Details,
) -> Result<Option<Observed>, Error> {
    let queue = Observed::of(queue, id);
    let account = accounts.job(id);
    if let Some(queue) = queue.as_ref().filter(|queue| !queue.state.is_final()) {
        return Ok(Some(queue.clone().or(account)));
    }
    if let Some(account) = account.as_ref().filter(|account| account.is_settled()) {
        return Ok(Some(account.clone().or(queue)));
    }
    let left = details.left(id);
    if let Some(detail) = Observed::of(&details.rows, id) {
        // A task of an array may have failed and be forgotten already.
        let failed = left.filter(|left| detail.state.succeeded() && !left.state.succeeded());
        return Ok(Some(failed.unwrap_or(detail).or(account)));
    }
    match accounts {
        // It may be only a matter of time until it knows more than that it did not come to its end.
        Answer::Silent(words) if !has_ended(left.as_ref()) => {
            Err(Error::Unreachable(unanswered(words)))
        }
        _ if account.is_some() && !has_ended(left.as_ref()) => Ok(account),
        _ => Ok(left.map(|left| left.or(account.clone())).or(account)),
    }
}

fn has_ended(left: Option<&Observed>) -> bool {
    left.is_some_and(|left| left.exit_code.is_some())
}

/// What `scontrol` and the jobs' directories say.
#[derive(Debug, Default)]
struct Details {
    rows: Vec<Row>,
    /// One for each task of an array that has begun.
    left: Vec<Left>,
}

/// What a script has left.
#[derive(Debug)]
struct Left {
    /// The number of its job.
    id: String,
    /// None, where it has not come to its end.
    exit_code: Option<i32>,
    /// How many tasks the array has.
    tasks: usize,
}

impl Details {
    fn parse(text: &str, jobs: &[Submitted]) -> Self {
        let left = |line: &str| {
            let mut words = line.strip_prefix("==exit ")?.split_whitespace();
            let (id, exit_code) = (words.next()?.to_owned(), words.next()?.parse().ok());
            let tasks = words.next().and_then(|tasks| tasks.parse().ok()).unwrap_or(1);
            Some(Left { id, exit_code, tasks })
        };
        Self { rows: own(of_scontrol(text), jobs), left: text.lines().filter_map(left).collect() }
    }

    /// What the job's script has left, if it has begun. One that Slurm does not know any more and that has not come to its
    /// end was ended, by whatever it was.
    fn left(&self, id: &str) -> Option<Observed> {
        let left: Vec<_> = self.left.iter().filter(|left| left.id == id).collect();
        let never_begun = left.first().filter(|first| first.tasks > left.len()).map(|_| None);
        let codes = left.iter().map(|left| left.exit_code).chain(never_begun);
        let code = codes.max_by_key(|code| match code {
            Some(0) => 0,
            None => 1,
            Some(_) => 2,
        })?;
        let Ok(state) = if code == Some(0) { "COMPLETED" } else { "FAILED" }.parse();
        Some(Observed { exit_code: code, ..Observed::in_state(state) })
    }
}

// === impl Answer ===

impl Answer {
    fn job(&self, id: &str) -> Option<Observed> {
        match self {
            Answer::Rows(rows) => Observed::of(rows, id),
            Answer::Disabled | Answer::Silent(_) => None,
        }
    }
}

// === impl Observed ===

impl Observed {
    /// What rows say of a job.
    fn of(rows: &[Row], id: &str) -> Option<Self> {
        let (jobs, steps): (Vec<&Row>, Vec<&Row>) =
            rows.iter().filter(|row| row.id == id).partition(|row| row.step.is_none());
        // Of equals, `max_by_key` takes the last.
        let row = jobs.iter().rev().max_by_key(|row| rank(&row.state))?;
        let ended = row.state.is_final();
        let mut usage = row.usage.clone();
        let memory = steps.iter().filter_map(|step| step.usage.get("MaxRSS"));
        if let Some(memory) = memory.max_by_key(|memory| bytes(memory)) {
            usage.insert("MaxRSS".to_owned(), memory.clone());
        }
        Some(Self {
            state: row.state.clone(),
            reason: row.reason.clone(),
            exit_code: row.exit_code.filter(|_| ended),
            signal: row.signal.filter(|_| ended),
            partition: row.partition.clone(),
            nodes: row.nodes.clone(),
            submit_time: jobs.iter().filter_map(|job| job.submit_time.clone()).min(),
            start_time: jobs.iter().filter_map(|job| job.start_time.clone()).min(),
            end_time: jobs.iter().filter_map(|job| job.end_time.clone()).max().filter(|_| ended),
            elapsed_seconds: jobs.iter().filter_map(|job| job.elapsed_seconds).max(),
            usage,
        })
    }

    /// Whether all is known of its end. Accounting may hear that a job has failed before it hears of the exit code.
    fn is_settled(&self) -> bool {
        let lacks_code = self.exit_code == Some(0) && self.signal.is_none();
        self.state.is_final() && !(self.state.as_str() == "FAILED" && lacks_code)
    }

    pub(crate) fn in_state(state: State) -> Self {
        Self {
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

    /// With what another source says where this one says nothing.
    fn or(mut self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        self.reason = self.reason.or(other.reason);
        self.partition = self.partition.or(other.partition);
        self.nodes = self.nodes.or(other.nodes);
        self.submit_time = self.submit_time.or(other.submit_time);
        self.start_time = self.start_time.or(other.start_time);
        self.elapsed_seconds = self.elapsed_seconds.or(other.elapsed_seconds);
        for (name, value) in other.usage {
            self.usage.entry(name).or_insert(value);
        }
        self
    }
}

/// Of the tasks of an array, the one with the highest speaks for all.
fn rank(state: &State) -> u8 {
    match state {
        state if state.is_running() => 4,
        state if !state.is_final() => 3,
        state if state.may_retry() => 2,
        state if !state.succeeded() => 1,
        _ => 0,
    }
}

/// `1024K`.
fn bytes(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => 0,
    };
    let whole = digits.split('.').next().unwrap_or_default();
    whole.parse::<u64>().unwrap_or(0).saturating_mul(1 << shift)
}

#[cfg(test)]
mod tests;
