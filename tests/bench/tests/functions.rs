//! The programs that measure functions and workflows do that, here with next to no load.

#![allow(clippy::unwrap_used, reason = "a test shows a fault by panicking")]

use std::process::Command;

/// The cells of the table that is printed, row by row, without its titles.
fn measured(words: &[&str]) -> Vec<Vec<String>> {
    let output = Command::new(env!("CARGO_BIN_EXE_functions")).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let table = String::from_utf8(output.stdout).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    table.lines().skip(2).map(cells).collect()
}

#[test]
fn runs_of_workflows_and_their_writes_are_measured() {
    let rows = measured(&["workflows", "--runs", "4", "--active", "2", "--steps", "1,3"]);
    let calls_and_writes: Vec<_> = rows.iter().map(|row| (&*row[0], &*row[1])).collect();
    assert_eq!(calls_and_writes, [("1", "3"), ("3", "5")]);
    assert!(rows.iter().all(|row| row[6].ends_with(" %")), "{rows:?}");
}

#[test]
fn calls_through_the_gateway_and_past_it_are_measured() {
    let rows = measured(&["overhead", "--callers", "2", "--calls", "20"]);
    let answered: Vec<_> = rows.iter().map(|row| (&*row[0], &*row[1], &*row[2])).collect();
    assert_eq!(answered, [("direct, 2 at once", "20", "0"), ("gateway, 2 at once", "20", "0")]);
}
