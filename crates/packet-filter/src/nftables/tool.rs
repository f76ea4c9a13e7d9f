//! `nft`.

use std::process::Output;

use super::contents::Table;
use crate::{Error, process};

const NFT: &str = "nft";

/// What it lists; `None` if there is no such table.
pub(super) async fn list(options: &[&str], table: &Table) -> Result<Option<String>, Error> {
    let Table { family, name } = table;
    let arguments = [options, &["list", "table", family, name]].concat();
    let output = process::output(NFT, &arguments, "").await?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let error = refusal(&arguments, &output);
    match &error {
        Error::Refused { message, .. } if message.contains("No such file or directory") => Ok(None),
        _ => Err(error),
    }
}

/// The names of a family's tables.
pub(super) async fn names(family: &str) -> Result<Vec<String>, Error> {
    let arguments = ["list", "tables", family];
    let output = process::output(NFT, &arguments, "").await?;
    if !output.status.success() {
        return Err(refusal(&arguments, &output));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| line.split_whitespace().nth(2).map(str::to_owned);
    Ok(listed.lines().filter_map(name).collect())
}

/// Makes all changes or none.
pub(super) async fn run(changes: &str) -> Result<(), Error> {
    let arguments = ["-f", "-"];
    let output = process::output(NFT, &arguments, changes).await?;
    if output.status.success() { Ok(()) } else { Err(refusal(&arguments, &output)) }
}

fn refusal(arguments: &[&str], output: &Output) -> Error {
    process::refused(format!("{NFT} {}", arguments.join(" ")), output)
}
