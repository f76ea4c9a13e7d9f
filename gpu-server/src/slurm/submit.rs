//! One Slurm job for one attempt at a task, however often its submission is tried.
//!
//! # Guarantees
//! Whoever submits holds a lock on the task's directory. `id` is Slurm's number: written by who submitted, or by the job
//! itself when it begins. `submitting` is there from before `sbatch` on: without `id` beside it, an answer was lost, and
//! the job is looked for by its name, which no other job has, before another is submitted. Where Slurm cannot be asked
//! for that, nothing is submitted.

use std::time::Duration;

use super::task::Task;
use crate::{
    remote::{Remote, quote},
    ssh::{Error, Exit},
};

/// What has become of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// Slurm has it, by this number, since now.
    Submitted(String),
    /// Slurm had it before, by this number.
    Found(String),
    /// Slurm will not have it: `sbatch`'s words.
    Rejected(String),
}

/// What every script begins with. Times are in UTC, words in English; where Slurm's commands are is perhaps known to a
/// login shell only.
pub(super) const PRELUDE: &str = r"export TZ=UTC0 LC_ALL=C
unset SLURM_TIME_FORMAT SQUEUE_FORMAT SQUEUE_FORMAT2 SACCT_FORMAT
command -v sbatch >/dev/null || . /etc/profile >/dev/null 2>&1
";

/// More than all that is waited for on the way.
const SUBMIT_LIMIT: Duration = Duration::from_secs(240);

/// Exit codes of the script, beside 0.
const REJECTED: u32 = 76;
const TRY_AGAIN: u32 = 75;

/// `find_job NAME SINCE` prints the number of the job of that name, if there is one. Jobs that have ended are in `squeue`
/// for some minutes, and in `sacct` for ever, if the cluster has accounting.
const FIND_JOB: &str = r#"find_job() {
    found=$(squeue -h -t all -u "$(id -un)" --name="$1" -o %F) || exit 75
    if [ -z "$found" ]; then
        found=$(timeout 20 sacct -X -n -P --name="$1" --starttime="$2" --format=JobID 2>&1) || case $found in
            *'storage is disabled'*) found= ;;
            *) echo "$found" >&2; exit 75 ;;
        esac
    fi
    echo "$found" | sed 's/[^0-9].*//' | sort -n | head -n 1
}
"#;

const SUBMIT: &str = r#"cd "$directory" || exit 77
exec 8>>submit.lock && flock -w 60 8 || exit 75
if [ -s id ]; then
    echo found; cat id; exit
fi
if [ -e submitting ]; then
    since=$(date -d "@$(( $(stat -c %Y submitting) - 86400 ))" +%Y-%m-%dT%H:%M:%S)
    id=$(find_job "$name" "$since") || exit 75
    if [ -n "$id" ]; then
        echo "$id" >id.partial && mv -f id.partial id && echo found && cat id
        exit
    fi
fi
: >submitting || exit 77
id=$(timeout 60 sbatch --parsable --chdir="$work" job.sh 8>&-) || exit 76
echo "${id%%;*}" >id.partial && mv -f id.partial id && echo submitted && cat id
"#;

/// Submits `job.sh`, the [batch script](super::batch_script) that is in `directory`, the task's own, unless it has been.
/// Its commands run in `work_dir` there.
///
/// # Errors
/// [`Error::Unreachable`] also if it is Slurm that cannot be reached; the job may be there nevertheless.
pub async fn submit_once(
    remote: &Remote,
    task: &Task<'_>,
    directory: &str,
    work_dir: Option<&str>,
) -> Result<Submission, Error> {
    let work = work_dir.map_or_else(|| directory.to_owned(), |work| format!("{directory}/{work}"));
    let script = format!(
        "{PRELUDE}{FIND_JOB}directory={} work={} name={}\n{SUBMIT}",
        quote(directory)?,
        quote(&work)?,
        quote(&task.job_name())?
    );
    let output = remote.run_for(&script, SUBMIT_LIMIT).await?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.exit {
        Exit::Code(TRY_AGAIN) => Err(Error::Unreachable(unanswered(&words))),
        Exit::Code(REJECTED) if is_transient(&words) => Err(Error::Unreachable(words)),
        Exit::Code(REJECTED) => Ok(Submission::Rejected(without_prefix(&words))),
        _ => submission(&output.text("submitting")?),
    }
}

/// The number of a task's job, wherever it is, if Slurm has ever had it.
pub async fn look_up(remote: &Remote, task: &Task<'_>) -> Result<Option<String>, Error> {
    let name = quote(&task.job_name())?;
    let script = format!("{PRELUDE}{FIND_JOB}find_job {name} 2000-01-01");
    let output = remote.run(&script).await?;
    if output.exit == Exit::Code(TRY_AGAIN) {
        return Err(Error::Unreachable(unanswered(&String::from_utf8_lossy(&output.stderr))));
    }
    let id = output.text("looking for a job")?;
    Ok(Some(id.trim().to_owned()).filter(|id| !id.is_empty()))
}

fn submission(text: &str) -> Result<Submission, Error> {
    let mut lines = text.lines();
    let found = lines.next() == Some("found");
    let id = lines.next().filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    match id {
        Some(id) if found => Ok(Submission::Found(id.to_owned())),
        Some(id) => Ok(Submission::Submitted(id.to_owned())),
        None => Err(Error::failed("submitting", format!("sbatch gives {text:?} for a number"))),
    }
}

/// Whether `sbatch` may say otherwise later, without anybody's doing.
fn is_transient(words: &str) -> bool {
    let signs = [
        "AssocMaxSubmitJobLimit",
        "QOSMaxSubmitJobPerUserLimit",
        "Socket timed out",
        "Zero Bytes were transmitted",
        "Resource temporarily unavailable",
        "Slurm temporarily unable",
        "Slurm backup controller in standby",
        "Slurm controller",
        "slurm_persist_conn_open",
        "Connection refused",
        "Unable to contact",
    ];
    // `timeout` ends sbatch without a word.
    words.is_empty() || signs.iter().any(|sign| words.contains(sign))
}

pub(super) fn unanswered(words: &str) -> String {
    match words.trim() {
        "" => "Slurm does not answer".to_owned(),
        words => format!("Slurm does not answer: {}", without_prefix(words)),
    }
}

/// Without the name of the command at each line's beginning.
fn without_prefix(words: &str) -> String {
    let line = |line: &str| match line.split_once(": error: ") {
        Some((command, rest)) if !command.contains(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    words.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sbatch_may_say_no_for_good_or_for_now() {
        let transient = |words: &str| is_transient(words);
        assert!(transient(
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
        ));
        assert!(transient(
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
        ));
        assert!(!transient("sbatch: error: invalid partition specified: nope"));
        assert!(!transient(
            "sbatch: error: Batch job submission failed: Requested node configuration is not available"
        ));
        assert_eq!(
            without_prefix("sbatch: error: invalid partition specified: nope\nsbatch: error: x: y"),
            "invalid partition specified: nope\nx: y"
        );
    }

    #[test]
    fn only_a_number_is_a_number() {
        let check = |text: &str, expected| assert_eq!(submission(text).ok(), expected, "{text:?}");
        check("submitted\n12\n", Some(Submission::Submitted("12".to_owned())));
        check("found\n12\n", Some(Submission::Found("12".to_owned())));
        check("found\n\n", None);
        check("submitted\nSubmitted batch job 12\n", None);
        check("", None);
    }
}
