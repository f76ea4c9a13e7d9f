//! The file under the names of the programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use testkit::PROGRAMS;

const FILE: &str = env!("CARGO_BIN_EXE_minik8s");

fn install(directory: &Path) {
    let status = Command::new(FILE).arg("--install").arg(directory).status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn each_program_is_there_under_its_name_however_often_it_is_installed() {
    // Links are made within one file system.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let directory = root.path().join("programs");
    install(&directory);
    install(&directory);
    let entries = fs::read_dir(&directory).unwrap();
    let names: BTreeSet<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, PROGRAMS.map(str::to_owned).into());
    for program in PROGRAMS {
        let help = Command::new(directory.join(program)).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains(&format!("Usage: {program} ")), "{program}: {help}");
    }
}

#[test]
fn under_no_programs_name_it_says_what_to_do() {
    let output = Command::new(FILE).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--install <DIRECTORY>"), "{said}");
}
