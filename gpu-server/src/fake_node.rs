//! A login node for tests, of which only `sh` and its tools are real, with the directory of a job on it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::slurm::Task;

/// The task whose directory is there.
pub(crate) const TASK: Task<'static> = Task {
    namespace: "default",
    name: "add",
    uid: "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11",
    index: 0,
    attempt: 0,
};

pub(crate) struct FakeNode(TempDir);

impl FakeNode {
    /// What each command does; those of Slurm that are not named say nothing.
    pub(crate) fn with(commands: &[(&str, &str)]) -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        fs::create_dir(node.0.path().join("bin")).unwrap();
        fs::create_dir_all(node.task()).unwrap();
        for (name, body) in [("squeue", ""), ("sacct", ""), ("sbatch", "")].iter().chain(commands) {
            let path = node.0.path().join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        node
    }

    /// In the job's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("job").join(name)
    }

    pub(crate) fn home(&self) -> String {
        self.0.path().join("job").display().to_string()
    }

    pub(crate) fn task(&self) -> PathBuf {
        self.path("tasks/0-0")
    }

    pub(crate) fn sh(&self, script: &str) -> Command {
        let bin = self.0.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut sh = Command::new("sh");
        sh.arg("-c").arg(script).env("PATH", path);
        sh.stdin(Stdio::piped()).stdout(Stdio::piped());
        sh
    }

    pub(crate) fn start(&self, script: &str) -> Child {
        self.sh(script).spawn().unwrap()
    }

    /// Has a file be three minutes old.
    pub(crate) fn age(&self, path: &Path) {
        let touched = Command::new("touch").args(["-d", "3 minutes ago"]).arg(path).status();
        assert!(touched.unwrap().success());
    }
}

/// Nobody tells of what a shell does.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::yield_now();
    }
}

/// Whether somebody waits for the lock on a file.
pub(crate) fn is_waited_for(lock: &Path) -> bool {
    let lock = fs::metadata(lock).unwrap().ino();
    let is_waiting = |line: &str| line.contains("->") && line.contains(&format!(":{lock} "));
    fs::read_to_string("/proc/locks").unwrap().lines().any(is_waiting)
}

#[track_caller]
pub(crate) fn ends(child: Child, code: u32, stdout: &str) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), i32::try_from(code).ok());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout);
}
