//! From GpuJobs to batch scripts: each `golden/<case>.yaml` is a job, and `golden/<case>.slurm` the script of its third
//! task's second attempt. `UPDATE_EXPECT=1` rewrites the latter.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{fs, path::Path, process::Command};

use api_types::minik8s::GpuJob;
use gpu_server::slurm::{Task, batch_script};

#[test]
fn batch_scripts_are_as_written_down_and_bash_can_read_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    assert!(!cases.is_empty(), "no jobs in tests/golden");
    for case in cases {
        let job: GpuJob = serde_yaml::from_str(&fs::read_to_string(&case).unwrap()).unwrap();
        let task = Task {
            namespace: job.metadata.namespace.as_deref().unwrap(),
            name: job.metadata.name.as_deref().unwrap(),
            uid: "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11",
            index: 2,
            attempt: 1,
        };
        let script = batch_script(&job.spec, &task).unwrap();
        let path = case.with_extension("slurm");
        expect_test::expect_file![&path].assert_eq(&script);
        assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success(), "{path:?}");
    }
}
