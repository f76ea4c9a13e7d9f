//! The program itself: what it prints and how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::process::{Command, Output};

const JOB: &str = "
apiVersion: minik8s.io/v1
kind: GpuJob
metadata: {name: matrix}
spec: {numGpus: 2, runScripts: [./multiply], credentials: {secretRef: {name: login}}}
";

fn gpu_server(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gpu-server")).args(args).output().unwrap()
}

fn dry_run(job: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), job).unwrap();
    gpu_server(&["--dry-run", "--file", file.path().to_str().unwrap()])
}

#[test]
fn a_dry_run_prints_the_script_and_nothing_else() {
    let output = dry_run(JOB);
    assert!(output.status.success(), "{output:?}");
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(script.starts_with("#!/bin/bash\n#SBATCH --job-name=default.matrix-0-0-"), "{script}");
    assert!(script.contains("#SBATCH --gres=gpu:2\n") && script.contains("\n./multiply\n"));
}

#[test]
fn what_cannot_be_in_a_script_is_told() {
    let output = dry_run(&JOB.replace("numGpus: 2", "partition: 'a b'"));
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("spec.partition"), "{message}");
}

#[test]
fn wrong_usage_ends_with_2() {
    assert_eq!(gpu_server(&[]).status.code(), Some(2));
    let output = gpu_server(&["--job=matrix"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("namespace/name"));
}
