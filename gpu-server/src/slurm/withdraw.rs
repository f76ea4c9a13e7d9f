//! Taking a submission back whose answer is not known.

use super::{
    submit::{FIND_JOB, PRELUDE, TRY_AGAIN, unanswered},
    task::Task,
};
use crate::{
    remote::{Remote, quote},
    ssh::{Error, Exit},
};

/// Below the lock of whoever submits, so that it has ended, and whoever comes later sees the mark. An sbatch that was given
/// up may still be on its way for some time.
const WITHDRAW: &str = r#"if cd "$directory" 2>/dev/null; then
    exec 8>>submit.lock && flock -w 60 8 || { echo 'the task is being submitted' >&2; exit 75; }
    : >withdrawn || exit 77
    if id=$(head -n 1 id 2>/dev/null | grep -Ex '[0-9]+'); then
        echo "$id"; exit 0
    fi
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
    use std::{
        fs,
        io::Write,
        os::unix::fs::{MetadataExt, PermissionsExt},
        path::PathBuf,
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::slurm::submit;

    const TASK: Task<'static> = Task {
        namespace: "default",
        name: "add",
        uid: "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11",
        index: 0,
        attempt: 0,
    };

    /// A login node of which only `sh` and its tools are real.
    struct Node(tempfile::TempDir);

    impl Node {
        fn new(sbatch: &str) -> Self {
            let node = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(node.path("tasks/0-0")).unwrap();
            for (name, body) in [("squeue", ""), ("sacct", ""), ("sbatch", sbatch)] {
                fs::write(node.path(name), format!("#!/bin/sh\n{body}\n")).unwrap();
                fs::set_permissions(node.path(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
            node
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn start(&self, script: &str) -> Child {
            let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
            let mut sh = Command::new("sh");
            sh.arg("-c").arg(script).env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
            sh.spawn().unwrap()
        }

        fn submit(&self) -> Child {
            let directory = self.path("tasks/0-0").display().to_string();
            self.start(&submit::script(&TASK, &directory, &directory).unwrap())
        }

        fn withdraw(&self) -> Child {
            self.start(&script(&TASK, &self.path("tasks/0-0").display().to_string()).unwrap())
        }
    }

    /// Nobody tells of what a shell does.
    fn until(mut holds: impl FnMut() -> bool) {
        while !holds() {
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn ends(child: Child, code: u32, stdout: &str) {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), i32::try_from(code).ok());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout);
    }

    #[test]
    fn a_task_that_is_being_submitted_is_not_withdrawn_before_its_number_is_known() {
        let node = Node::new("read line; echo 12");
        let mut submission = node.submit();
        let mut input = submission.stdin.take().unwrap();
        let begun = node.path("tasks/0-0/submitting");
        until(|| begun.exists());
        let mut withdrawal = node.withdraw();
        let lock = fs::metadata(node.path("tasks/0-0/submit.lock")).unwrap().ino();
        let is_waiting = |line: &str| line.contains("->") && line.contains(&format!(":{lock} "));
        until(|| {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(is_waiting) || withdrawal.try_wait().unwrap().is_some()
        });
        input.write_all(b"go\n").unwrap();
        ends(submission, 0, "submitted\n12\n");
        ends(withdrawal, 0, "12\n");
    }

    #[test]
    fn nothing_is_submitted_once_a_task_is_withdrawn() {
        let node = Node::new("echo 12");
        ends(node.withdraw(), 0, "\n");
        ends(node.submit(), TRY_AGAIN, "");
        assert!(!node.path("tasks/0-0/id").exists());
    }

    /// slurmctld may have taken what `sbatch` has not heard of, and shows it later.
    #[test]
    fn what_was_not_answered_is_not_submitted_again_before_it_had_its_time() {
        let late =
            "echo x >>calls; echo 'sbatch: error: Socket timed out on send/recv' >&2; exit 1";
        let node = Node::new(late);
        let calls = || fs::read_to_string(node.path("tasks/0-0/calls")).unwrap().lines().count();
        let rejected = 76;
        ends(node.submit(), rejected, "");
        ends(node.submit(), TRY_AGAIN, "");
        assert_eq!(calls(), 1);
        let touched = Command::new("touch")
            .args(["-d", "3 minutes ago"])
            .arg(node.path("tasks/0-0/late"))
            .status();
        assert!(touched.unwrap().success());
        ends(node.submit(), rejected, "");
        assert_eq!(calls(), 2);
    }

    #[test]
    fn a_task_whose_sbatch_was_given_up_is_withdrawn_some_time_later() {
        let node = Node::new("");
        fs::write(node.path("tasks/0-0/submitting"), "").unwrap();
        ends(node.withdraw(), TRY_AGAIN, "");
        let touched = Command::new("touch")
            .args(["-d", "3 minutes ago"])
            .arg(node.path("tasks/0-0/submitting"))
            .status();
        assert!(touched.unwrap().success());
        ends(node.withdraw(), 0, "\n");
        fs::remove_dir_all(node.path("tasks")).unwrap();
        ends(node.withdraw(), 0, "\n");
    }
}
