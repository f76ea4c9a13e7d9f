//! Inputs that anybody may send, and those that once broke something, break nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "what is fuzzed is a crate by itself")]

use std::{fs, path::Path};

#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../fuzz/src/requests.rs"]
mod requests;

fn all(target: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files: Vec<_> = fs::read_dir(seeds).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        eprintln!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn configurations_are_applied() {
    all("apply", fuzz::apply::run);
}

#[test]
fn definitions_are_served_or_refused() {
    all("definitions", fuzz::definitions::run);
}

#[test]
fn documents_are_read() {
    all("documents", fuzz::documents::run);
}

#[test]
fn expressions_end() {
    all("expressions", fuzz::expressions::run);
}

#[test]
fn patches_apply_or_say_why_not() {
    all("patches", fuzz::patches::run);
}

#[test]
fn quantities_are_read_and_written() {
    all("quantities", fuzz::quantities::run);
}

#[test]
fn requests_are_never_the_servers_fault() {
    all("requests", requests::run);
}

#[test]
fn selectors_are_read_and_written() {
    all("selectors", fuzz::selectors::run);
}
