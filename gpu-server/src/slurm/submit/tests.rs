use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

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

/// A login node of which only `sh` and its tools are real; a task's directory on it.
struct Node {
    folder: tempfile::TempDir,
}

const TASK: Task<'static> = Task {
    namespace: "default",
    name: "add",
    uid: "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11",
    index: 0,
    attempt: 0,
};

impl Node {
    /// What each command does; those of Slurm that are not named say nothing.
    fn with(commands: &[(&str, &str)]) -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(node.path("bin")).unwrap();
        fs::create_dir_all(node.task()).unwrap();
        for (name, body) in [("squeue", ""), ("sacct", ""), ("sbatch", "")].iter().chain(commands) {
            let path = node.path("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn task(&self) -> PathBuf {
        self.path("job/tasks/0-0")
    }

    fn lose(self) -> Self {
        fs::write(self.task().join("submitting"), "").unwrap();
        self
    }

    /// Exit code, and the lines of standard output.
    fn submit(&self, environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let directory = self.task().to_str().unwrap().to_owned();
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut sh = std::process::Command::new("sh");
        sh.arg("-c").arg(script(&TASK, &directory, &directory).unwrap()).env("PATH", path);
        let output = sh.envs(environment.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    #[track_caller]
    fn check(&self, code: u32, stdout: &str) {
        assert_eq!(self.submit(&[]), (i32::try_from(code).ok(), stdout.to_owned()));
    }
}

const NOISE: &str =
    "echo 'error: Ignoring obsolete CacheGroups=0 option' >&2\necho 'Welcome to 7 nodes'\n";

#[test]
fn a_job_that_slurm_has_is_found_whatever_else_its_commands_say() {
    let sbatch = ("sbatch", "echo 99");
    let accounts = format!("{NOISE}echo '123_[0-4]|PENDING'");
    Node::with(&[("sacct", &accounts), sbatch]).lose().check(0, "found\n123\n");
    let queue = format!("{NOISE}echo '123|RUNNING'");
    Node::with(&[("squeue", &queue), sbatch]).lose().check(0, "found\n123\n");
    let disabled = "echo 'Slurm accounting storage is disabled' >&2; exit 1";
    Node::with(&[("sacct", disabled), sbatch]).lose().check(0, "submitted\n99\n");
    Node::with(&[("sacct", &format!("{NOISE}exit 1")), sbatch]).lose().check(TRY_AGAIN, "");
    Node::with(&[("squeue", "exit 1"), sbatch]).lose().check(TRY_AGAIN, "");
}

#[test]
fn a_rejection_is_only_what_sbatch_says_of_a_job_that_is_not_in_the_queue() {
    let killed = format!("{NOISE}kill -KILL $$");
    Node::with(&[("sbatch", &killed)]).check(TRY_AGAIN, "");
    Node::with(&[("sbatch", &format!("{NOISE}exit 124"))]).check(TRY_AGAIN, "");
    Node::with(&[("sbatch", NOISE)]).check(TRY_AGAIN, "");
    Node::with(&[("sbatch", "echo no >&2; exit 1")]).check(REJECTED, "");
    let queue = ("squeue", "echo '12|PENDING'");
    Node::with(&[("sbatch", "echo no >&2; exit 1"), queue]).check(0, "submitted\n12\n");
    let refused = ("squeue", "echo '12|FAILED'");
    Node::with(&[("sbatch", "echo no >&2; exit 1"), refused]).check(REJECTED, "");
    let begun = ("sbatch", "echo 12 >id; echo no >&2; exit 1");
    Node::with(&[begun, refused]).check(0, "submitted\n12\n");
    Node::with(&[("sbatch", "exit 1"), ("squeue", "exit 1")]).check(TRY_AGAIN, "");
}

#[test]
fn the_number_of_a_job_that_was_taken_is_told_and_nothing_else_is_kept_as_one() {
    let taken = format!("{NOISE}echo '12;cluster'");
    let node = Node::with(&[("sbatch", &taken)]);
    node.check(0, "submitted\n12\n");
    node.check(0, "found\n12\n");
    assert_eq!(fs::read_to_string(node.task().join("id")).unwrap(), "12\n");
    // It cannot be written down.
    let node = Node::with(&[("sbatch", &taken)]);
    fs::create_dir(node.task().join("id.partial")).unwrap();
    node.check(0, "submitted\n12\n");
    let node = Node::with(&[("sbatch", &taken)]);
    fs::write(node.task().join("id"), "Welcome\n").unwrap();
    node.check(0, "submitted\n12\n");
}

#[test]
fn nothing_is_submitted_for_a_job_that_is_being_removed() {
    let node = Node::with(&[("sbatch", "echo 12")]);
    fs::write(node.path("job").join(REMOVED), "").unwrap();
    node.check(TRY_AGAIN, "");
    // It is found nevertheless.
    fs::write(node.task().join("id"), "11\n").unwrap();
    node.check(0, "found\n11\n");
}

#[test]
fn what_a_site_has_set_for_slurms_commands_hides_no_job_and_a_job_has_the_users_zone() {
    let says = "echo $SBATCH_JOB_NAME$SQUEUE_USERS$SLURM_CLUSTERS/$SBATCH_QOS/$TZ/$LC_ALL \"$*\" >said; echo 12";
    let node = Node::with(&[("sbatch", says)]);
    let environment = [
        ("SBATCH_JOB_NAME", "evil"),
        ("SQUEUE_USERS", "nobody"),
        ("SLURM_CLUSTERS", "other"),
        ("SBATCH_QOS", "high"),
        ("TZ", "CET"),
    ];
    assert_eq!(node.submit(&environment).0, Some(0));
    let said = fs::read_to_string(node.task().join("said")).unwrap();
    let name = TASK.job_name();
    assert!(said.starts_with("/high/CET/ --parsable"), "{said}");
    assert!(said.contains(&format!("--job-name={name} ")), "{said}");
}
