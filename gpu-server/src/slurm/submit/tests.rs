use std::{fs, process::Command};

use super::*;
use crate::fake_node::{FakeNode, TASK, ends};

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

/// As one whose `sbatch` has begun and was not heard of again.
fn lost(commands: &[(&str, &str)]) -> FakeNode {
    let node = FakeNode::with(commands);
    fs::write(node.task().join("submitting"), "").unwrap();
    node
}

fn submitting(node: &FakeNode) -> Command {
    let directory = node.task().display().to_string();
    node.sh(&script(&TASK, &directory, &directory).unwrap())
}

#[track_caller]
fn check(node: &FakeNode, code: u32, stdout: &str) {
    ends(submitting(node).spawn().unwrap(), code, stdout);
}

const NOISE: &str =
    "echo 'error: Ignoring obsolete CacheGroups=0 option' >&2\necho 'Welcome to 7 nodes'\n";

#[test]
fn a_job_that_slurm_has_is_found_whatever_else_its_commands_say() {
    let sbatch = ("sbatch", "echo 99");
    let accounts = format!("{NOISE}echo '123_[0-4]|PENDING'");
    check(&lost(&[("sacct", &accounts), sbatch]), 0, "found\n123\n");
    let queue = format!("{NOISE}echo '123|RUNNING'");
    check(&lost(&[("squeue", &queue), sbatch]), 0, "found\n123\n");
    let disabled = "echo 'Slurm accounting storage is disabled' >&2; exit 1";
    check(&lost(&[("sacct", disabled), sbatch]), 0, "submitted\n99\n");
    check(&lost(&[("sacct", &format!("{NOISE}exit 1")), sbatch]), TRY_AGAIN, "");
    check(&lost(&[("squeue", "exit 1"), sbatch]), TRY_AGAIN, "");
}

#[test]
fn a_rejection_is_only_what_sbatch_says_of_a_job_that_is_not_in_the_queue() {
    let killed = format!("{NOISE}kill -KILL $$");
    check(&FakeNode::with(&[("sbatch", &killed)]), TRY_AGAIN, "");
    check(&FakeNode::with(&[("sbatch", &format!("{NOISE}exit 124"))]), TRY_AGAIN, "");
    check(&FakeNode::with(&[("sbatch", NOISE)]), TRY_AGAIN, "");
    check(&FakeNode::with(&[("sbatch", "echo no >&2; exit 1")]), REJECTED, "");
    let queue = ("squeue", "echo '12|PENDING'");
    check(&FakeNode::with(&[("sbatch", "echo no >&2; exit 1"), queue]), 0, "submitted\n12\n");
    let refused = ("squeue", "echo '12|FAILED'");
    check(&FakeNode::with(&[("sbatch", "echo no >&2; exit 1"), refused]), REJECTED, "");
    let begun = ("sbatch", "echo 12 >id; echo no >&2; exit 1");
    check(&FakeNode::with(&[begun, refused]), 0, "submitted\n12\n");
    check(&FakeNode::with(&[("sbatch", "exit 1"), ("squeue", "exit 1")]), TRY_AGAIN, "");
}

#[test]
fn the_number_of_a_job_that_was_taken_is_told_and_nothing_else_is_kept_as_one() {
    let taken = format!("{NOISE}echo '12;cluster'");
    let node = FakeNode::with(&[("sbatch", &taken)]);
    check(&node, 0, "submitted\n12\n");
    check(&node, 0, "found\n12\n");
    assert_eq!(fs::read_to_string(node.task().join("id")).unwrap(), "12\n");
    // It cannot be written down.
    let node = FakeNode::with(&[("sbatch", &taken)]);
    fs::create_dir(node.task().join("id.partial")).unwrap();
    check(&node, 0, "submitted\n12\n");
    let node = FakeNode::with(&[("sbatch", &taken)]);
    fs::write(node.task().join("id"), "Welcome\n").unwrap();
    check(&node, 0, "submitted\n12\n");
}

#[test]
fn nothing_is_submitted_for_a_job_that_is_being_removed() {
    let node = FakeNode::with(&[("sbatch", "echo 12")]);
    fs::write(node.path(REMOVED), "").unwrap();
    check(&node, TRY_AGAIN, "");
    // It is found nevertheless.
    fs::write(node.task().join("id"), "11\n").unwrap();
    check(&node, 0, "found\n11\n");
}

#[test]
fn what_a_site_has_set_for_slurms_commands_hides_no_job_and_a_job_has_the_users_zone() {
    let says = "echo $SBATCH_JOB_NAME$SQUEUE_USERS$SLURM_CLUSTERS/$SBATCH_QOS/$TZ/$LC_ALL \"$*\" >said; echo 12";
    let node = FakeNode::with(&[("sbatch", says)]);
    let environment = [
        ("SBATCH_JOB_NAME", "evil"),
        ("SQUEUE_USERS", "nobody"),
        ("SLURM_CLUSTERS", "other"),
        ("SBATCH_QOS", "high"),
        ("TZ", "CET"),
    ];
    ends(submitting(&node).envs(environment).spawn().unwrap(), 0, "submitted\n12\n");
    let said = fs::read_to_string(node.task().join("said")).unwrap();
    let name = TASK.job_name();
    assert!(said.starts_with("/high/CET/ --parsable"), "{said}");
    assert!(said.contains(&format!("--job-name={name} ")), "{said}");
}
