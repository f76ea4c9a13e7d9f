//! What a program's `check` tells of: how its node differs from what the API server says. All such commands tell it alike.

use std::io::{self, Write};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::{Value, json};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What of the node, in a word: `route`, `link`, `rule` and so on.
    pub part: &'static str,
    /// What about it.
    pub message: String,
}

impl Difference {
    /// A difference.
    pub fn new(part: &'static str, message: impl Into<String>) -> Self {
        Self { part, message: message.into() }
    }
}

/// How differences are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line each
    #[default]
    Text,
    /// An object with the node and all differences
    Json,
}

/// Prints the differences.
///
/// # Errors
/// There are some, or they cannot be printed.
pub fn report(output: Output, node: &str, differences: &[Difference]) -> anyhow::Result<()> {
    print(output, node, differences).context("cannot print")?;
    match differences.len() {
        0 => Ok(()),
        1 => bail!("1 difference"),
        count => bail!("{count} differences"),
    }
}

fn print(output: Output, node: &str, differences: &[Difference]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            let all: Vec<_> = differences.iter().map(object).collect();
            serde_json::to_writer_pretty(&mut out, &json!({"node": node, "differences": all}))?;
            writeln!(out)
        }
        Output::Text => differences
            .iter()
            .try_for_each(|Difference { part, message }| writeln!(out, "{part}: {message}")),
    }
}

fn object(Difference { part, message }: &Difference) -> Value {
    json!({"part": part, "message": message})
}
