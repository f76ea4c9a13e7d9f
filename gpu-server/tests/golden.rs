//! From command lines to batch scripts: each `golden/<case>.args` holds a command line, an argument a
//! line, and `golden/<case>.slurm` the script. `UPDATE_EXPECT=1` rewrites the latter.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{fs, path::PathBuf};

use clap::Parser;
use gpu_server::{Invocation, sbatch::sbatch_script};

#[test]
fn batch_scripts_are_as_written_down() {
    let cases = cases();
    assert!(!cases.is_empty(), "no command lines in tests/golden");
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let argv = ["gpu-server", "--dry-run"].into_iter().chain(text.lines());
        let invocation = Invocation::try_parse_from(argv).unwrap();
        let expected = expect_test::expect_file![case.with_extension("slurm")];
        expected.assert_eq(&sbatch_script(&invocation.job));
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|kind| kind == "args")).collect()
}
