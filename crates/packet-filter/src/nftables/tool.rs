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

/// Makes all changes or none.
pub(super) async fn run(changes: &str) -> Result<(), Error> {
    let arguments = ["-f", "-"];
    let output = process::output(NFT, &arguments, changes).await?;
    if output.status.success() { Ok(()) } else { Err(refusal(&arguments, &output)) }
}

fn refusal(arguments: &[&str], output: &Output) -> Error {
    process::refused(format!("{NFT} {}", arguments.join(" ")), output)
}
