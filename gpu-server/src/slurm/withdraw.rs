//! Taking a submission back whose answer is not known.

use super::{
    submit::{FIND_JOB, PRELUDE, TRY_AGAIN, unanswered},
    task::Task,
};
use crate::{
    remote::{Remote, quote},
    ssh::{Error, Exit},
};

/// Below the lock of whoever submits, so that it has ended, and whoever comes later sees the mark: also where there is no
/// directory yet, into which it would copy what it submits. An sbatch that was given
/// up may still be on its way for some time.
const WITHDRAW: &str = r#"(umask 077; mkdir -p "$directory") && cd "$directory" || exit 77
exec 8>>submit.lock && flock -w 60 8 || { echo 'the task is being submitted' >&2; exit 75; }
: >withdrawn || exit 77
if id=$(head -n 1 id 2>/dev/null | grep -Ex '[0-9]+'); then
    echo "$id"; exit 0
fi
id=$(find_job "$name" 2000-01-01) || exit 75
if [ -z "$id" ] && [ -n "$(find submitting -maxdepth 0 -mmin -2 2>/dev/null)" ]; then
    echo 'the task may be in Slurm' >&2; exit 75
fi
echo "$id"
"#;

/// Sees to it that the task, whose directory this is, is submitted no more: when it returns, it is in Slurm under the number,
/// or is not, and will not be.
pub async fn withdraw(
    remote: &Remote,
    task: &Task<'_>,
    directory: &str,
) -> Result<Option<String>, Error> {
    let output = remote.run(&script(task, directory)?).await?;
    if output.exit == Exit::Code(TRY_AGAIN) {
        return Err(Error::Unreachable(unanswered(&String::from_utf8_lossy(&output.stderr))));
    }
    let id = output.text("withdrawing a task")?.trim().to_owned();
    Ok(Some(id).filter(|id| !id.is_empty()))
}

fn script(task: &Task<'_>, directory: &str) -> Result<String, Error> {
    let (directory, name) = (quote(directory)?, quote(&task.job_name())?);
    Ok(format!("{PRELUDE}{FIND_JOB}directory={directory} name={name}\n{WITHDRAW}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, process::Child};

    use super::*;
    use crate::{
        fake_node::{FakeNode, TASK, ends, is_waited_for, until},
        slurm::submit,
    };

    fn node(sbatch: &str) -> FakeNode {
        FakeNode::with(&[("sbatch", sbatch)])
    }

    fn submission(node: &FakeNode) -> Child {
        let directory = node.task().display().to_string();
        node.start(&submit::script(&TASK, &directory, &directory).unwrap())
    }

    fn withdrawal(node: &FakeNode) -> Child {
        node.start(&script(&TASK, &node.task().display().to_string()).unwrap())
    }

    #[test]
    fn a_task_that_is_being_submitted_is_not_withdrawn_before_its_number_is_known() {
        let node = node("read line; echo 12");
        let mut submission = submission(&node);
        let mut input = submission.stdin.take().unwrap();
        let task = node.task();
        until(|| task.join("submitting").exists());
        let mut withdrawal = withdrawal(&node);
        let lock = task.join("submit.lock");
        until(|| is_waited_for(&lock) || withdrawal.try_wait().unwrap().is_some());
        input.write_all(b"go\n").unwrap();
        ends(submission, 0, "submitted\n12\n");
        ends(withdrawal, 0, "12\n");
    }

    #[test]
    fn nothing_is_submitted_once_a_task_is_withdrawn() {
        let node = node("echo 12");
        // Whoever is late makes the directory only then.
        fs::remove_dir_all(node.path("tasks")).unwrap();
        ends(withdrawal(&node), 0, "\n");
        ends(submission(&node), TRY_AGAIN, "");
        assert!(!node.task().join("id").exists());
    }

    /// slurmctld may have taken what `sbatch` has not heard of, and shows it later.
    #[test]
    fn what_was_not_answered_is_not_submitted_again_before_it_had_its_time() {
        let late =
            "echo x >>calls; echo 'sbatch: error: Socket timed out on send/recv' >&2; exit 1";
        let node = node(late);
        let calls = || fs::read_to_string(node.task().join("calls")).unwrap().lines().count();
        let rejected = 76;
        ends(submission(&node), rejected, "");
        ends(submission(&node), TRY_AGAIN, "");
        assert_eq!(calls(), 1);
        node.age(&node.task().join("late"));
        ends(submission(&node), rejected, "");
        assert_eq!(calls(), 2);
    }

    #[test]
    fn a_task_whose_sbatch_was_given_up_is_withdrawn_some_time_later() {
        let node = node("");
        let submitting = node.task().join("submitting");
        fs::write(&submitting, "").unwrap();
        ends(withdrawal(&node), TRY_AGAIN, "");
        node.age(&submitting);
        ends(withdrawal(&node), 0, "\n");
    }
}
