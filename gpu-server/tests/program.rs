//! The program itself: what it prints and how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::process::{Command, Output};

const JOB: [&str; 3] = ["--job-name=default/m", "--workdir=jobs/m", "--run=./m"];
const SSH: [&str; 3] = ["--ssh-host=h", "--ssh-user=u", "--ssh-host-key=SHA256:x"];

fn gpu_server(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-server"));
    command.args(args).env("MINIK8S_SSH_PASSWORD", "secret").output().unwrap()
}

#[test]
fn a_dry_run_prints_the_script_and_nothing_else() {
    let output = gpu_server(&[&JOB[..], &["--dry-run"]].concat());
    assert!(output.status.success());
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(script.starts_with("#!/bin/bash\n") && script.ends_with("\n./m\n"), "{script}");
}

#[test]
fn without_a_dry_run_it_says_that_it_cannot_submit() {
    let output = gpu_server(&[JOB, SSH].concat());
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cannot submit default/m"), "{message}");
    assert!(!message.contains("secret"));
}

#[test]
fn wrong_usage_ends_with_2() {
    assert_eq!(gpu_server(&[]).status.code(), Some(2));
    let output = gpu_server(&[&JOB[..], &["--dry-run", "--partition=;"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--partition"));
}
