//! The order of the lines.

use clap::Args;

use super::amounts::Amounts;
use crate::Failure;

/// By what rows are sorted.
#[derive(Args, Debug)]
pub(super) struct Order {
    /// By cpu or memory, the highest first
    #[arg(long, default_value = "")]
    sort_by: String,
}

impl Order {
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &*self.sort_by {
            "" | "cpu" | "memory" => Ok(()),
            _ => Err(Failure::message("--sort-by accepts only cpu or memory")),
        }
    }

    /// Sorts what has a name and amounts.
    pub(super) fn sort<T>(
        &self,
        rows: &mut [T],
        name: impl Fn(&T) -> String,
        amounts: impl Fn(&T) -> Amounts,
    ) {
        match &*self.sort_by {
            "cpu" => rows.sort_by_key(|row| std::cmp::Reverse(amounts(row).cpu.milli_value())),
            "memory" => rows.sort_by_key(|row| std::cmp::Reverse(amounts(row).memory.value())),
            _ => rows.sort_by_key(name),
        }
    }
}
