//! One Slurm job for one attempt at a task, however often its submission is tried.
//!
//! # Guarantees
//! Whoever submits holds a lock on the task's directory. `id` is Slurm's number: written by who submitted, or by the job
//! itself when it begins. `submitting` is there from before `sbatch` on: without `id` beside it, an answer was lost, and
//! the job is looked for by its name, which no other job has, before another is submitted. Where Slurm cannot be asked
//! for that, nothing is submitted; nor for some minutes after one that was given up without an answer (`late`), nor where the job's directory is marked as [being removed](REMOVED). Slurm's accounting
//! may be behind: a job that it has not heard of yet and that the queue has forgotten already counts as none.

use std::time::Duration;

use super::task::Task;
use crate::{
    remote::{REMOVED, Remote, quote},
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

/// What every script begins with. Where Slurm's commands are is perhaps known to a login shell only. What they answer must
/// not depend on what the site or the user has set for them, except where a job is to be charged and to wait. Times are in
/// UTC, words in English; `as_user` runs a command whose environment is to be the job's.
pub(super) const PRELUDE: &str = r#"command -v sbatch >/dev/null || . /etc/profile >/dev/null 2>&1
for variable in $(env | sed -n 's/^\(S\(BATCH\|QUEUE\|ACCT\|INFO\|CANCEL\|CONTROL\)_[A-Za-z0-9_]*\)=.*/\1/p'); do
    case $variable in
    SBATCH_ACCOUNT | SBATCH_PARTITION | SBATCH_QOS) ;;
    *) unset "$variable" ;;
    esac
done
unset SLURM_CLUSTERS SLURM_TIME_FORMAT
users_zone=${TZ-} users_locale=${LC_ALL-}
export TZ=UTC0 LC_ALL=C
as_user() (
    if [ -n "$users_zone" ]; then TZ=$users_zone; else unset TZ; fi
    if [ -n "$users_locale" ]; then LC_ALL=$users_locale; else unset LC_ALL; fi
    exec "$@"
)
"#;

/// More than all that is waited for on the way.
const SUBMIT_LIMIT: Duration = Duration::from_secs(240);

/// Exit codes of the script, beside 0.
const REJECTED: u32 = 76;
pub(super) const TRY_AGAIN: u32 = 75;

/// `find_job NAME SINCE` prints the number of the job of that name, if there is one. Jobs that have ended are in `squeue`
/// for some minutes, and in `sacct` for ever, if the cluster has accounting. Only lines that are theirs count: they and what
/// sites wrap around them say other things, too.
pub(super) const FIND_JOB: &str = r#"number() { sed -En 's/^([0-9]+)([_+][^|]*)?[|].*$/\1/p' | sort -n | head -n 1; }
in_queue() {
    found=$(timeout 30 squeue -h -t all -u "$(id -un)" --name="$1" -o '%F|%T') || return 75
    echo "$found" | grep -v "${2:-^$}" | number
}
in_accounts() { timeout 20 sacct -X -n -P --name="$1" --starttime="$2" --format=JobID,State; }
find_job() {
    id=$(in_queue "$1") || exit 75
    if [ -z "$id" ]; then
        found=$(in_accounts "$1" "$2" 2>/dev/null) || {
            found= words=$(in_accounts "$1" "$2" 2>&1 >/dev/null)
            case $words in
            *'storage is disabled'*) ;;
            *) echo "$words" >&2; exit 75 ;;
            esac
        }
        id=$(echo "$found" | number)
    fi
    echo "$id"
}
"#;

/// A number is told before it is written down, which a full disk may prevent. What `sbatch` says is believed only when
/// the job is not in the queue nevertheless.
const SUBMIT: &str = r#"cd "$directory" || exit 77
exec 8>>submit.lock && flock -w 60 8 || { echo "no lock on $directory/submit.lock" >&2; exit 75; }
tell() {
    echo "$1"; echo "$2"
    echo "$2" >id.partial && mv -f id.partial id
    exit 0
}
if id=$(head -n 1 id 2>/dev/null | grep -Ex '[0-9]+'); then
    echo found; echo "$id"; exit 0
fi
if [ -e submitting ]; then
    since=$(date -d "@$(( $(stat -c %Y submitting) - 86400 ))" +%Y-%m-%dT%H:%M:%S)
    id=$(find_job "$name" "$since") || exit 75
    [ -z "$id" ] || tell found "$id"
    if [ -n "$(find late -maxdepth 0 -mmin -2 2>/dev/null)" ]; then
        echo 'an earlier submission may still be on its way' >&2; exit 75
    fi
fi
if [ -e withdrawn ]; then echo 'the task was withdrawn' >&2; exit 75; fi
if [ -e "$removed" ]; then echo 'the job is being removed' >&2; exit 75; fi
: >submitting || exit 77
said=$(as_user timeout -k 5 60 sbatch --parsable --job-name="$name" --comment="$comment" --chdir="$work" job.sh 8>&- 2>words)
code=$?
cat words >&2
id=$(printf '%s\n' "$said" | sed -En 's/^([0-9]+)(;.*)?$/\1/p' | tail -n 1)
[ -z "$id" ] || tell submitted "$id"
# Slurm keeps those that it has refused, as failed ones.
id=$(in_queue "$name" '|FAILED$' 2>/dev/null) || exit 75
[ -z "$id" ] || tell submitted "$id"
if id=$(head -n 1 id 2>/dev/null | grep -Ex '[0-9]+'); then tell submitted "$id"; fi
case $code in
124 | 137) : >late ;;
*) ! grep -qi 'timed out' words || : >late ;;
esac
case $code in
0 | 124 | 129 | 130 | 137 | 143) exit 75 ;;
esac
exit 76
"#;

/// `sbatch`'s own script, as it is run on the login node.
pub(super) fn script(task: &Task<'_>, directory: &str, work: &str) -> Result<String, Error> {
    let removed = format!("{directory}/../../{REMOVED}");
    Ok(format!(
        "{PRELUDE}{FIND_JOB}directory={} work={} removed={} name={} comment={}\n{SUBMIT}",
        quote(directory)?,
        quote(work)?,
        quote(&removed)?,
        quote(&task.job_name())?,
        quote(&task.comment())?
    ))
}

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
    let script = script(task, directory, &work)?;
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
    let id = output.text("looking for a job")?.trim().to_owned();
    if !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::failed("looking for a job", format!("{id:?} is no number")));
    }
    Ok(Some(id).filter(|id| !id.is_empty()))
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

/// Whether Slurm may say otherwise later, without anybody's doing.
pub(super) fn is_transient(words: &str) -> bool {
    let signs = [
        "AssocGrpSubmitJobsLimit",
        "AssocMaxSubmitJobLimit",
        "QOSGrpSubmitJobsLimit",
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
        "Protocol authentication error",
        "Invalid authentication credential",
        "Munge",
        "munge",
    ];
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
mod tests;
