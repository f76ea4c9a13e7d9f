//! Rules of the kernel's packet filter, as plain data: tables as they should be, which are compared with
//! those that are there. What the rules are for is their owners' matter.
//!
//! Everything of ours is in chains of ours; the built-in chains only jump there. Rules are in the words of
//! iptables, and as it lists them. They are read through the `iptables` crate, and written by
//! `iptables-restore`, which that crate lacks: so all that changes in a table changes at once, and no packet
//! meets half a chain. [`nftables`] is the same in the words of nftables, in tables of ours.
//!
//! Guarantees: what is as it should be is not touched, nor is what others made; programs of one host take
//! turns; a tool that hangs is not waited for.

pub mod connections;
mod error;
mod family;
mod iptables;
pub mod nftables;
mod process;
mod repair;
mod table;

use std::time::Duration;

use tokio::time::timeout;

pub use error::Error;
pub use family::Family;
pub use table::{Chain, Jump, Table};

/// The tools wait for one another's lock, without end if it is never released.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the tables what they should be, each at once; tells whether they were not.
///
/// # Errors
/// A tool is not there, refuses, or does not end.
pub async fn ensure(family: Family, wanted: &[Table]) -> Result<bool, Error> {
    patiently(async {
        let _turn = iptables::turn().await?;
        let mut text = String::new();
        for table in wanted {
            let found = iptables::list(family, table.name).await?;
            text += &repair::text(table, &found).unwrap_or_default();
        }
        if text.is_empty() {
            return Ok(false);
        }
        iptables::restore(family, &text).await?;
        Ok(true)
    })
    .await
}

/// Removes these chains of a table, with what leads to them from others. What is not there is fine.
///
/// # Errors
/// A tool is not there, refuses, or does not end.
pub async fn remove(family: Family, table: &'static str, chains: &[&str]) -> Result<(), Error> {
    patiently(async {
        let _turn = iptables::turn().await?;
        let found = iptables::list(family, table).await?;
        match repair::removal(table, chains, &found) {
            Some(text) => iptables::restore(family, &text).await,
            None => Ok(()),
        }
    })
    .await
}

/// What of the tables is not as it should be, in words. Nothing is changed.
///
/// # Errors
/// The tool is not there, or does not end.
pub async fn differences(family: Family, wanted: &[Table]) -> Result<Vec<String>, Error> {
    patiently(async {
        let mut differences = Vec::new();
        for table in wanted {
            let found = iptables::list(family, table.name).await?;
            differences.extend(repair::differences(table, &found));
        }
        Ok(differences)
    })
    .await
}

/// The rules of a chain as they are; none if there is no such chain.
///
/// # Errors
/// The tool is not there, or does not end.
pub async fn rules(family: Family, table: &'static str, chain: &str) -> Result<Vec<String>, Error> {
    let found = patiently(iptables::list(family, table)).await?;
    Ok(repair::rules(&found, chain).map(str::to_owned).collect())
}

async fn patiently<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, work).await.map_err(|_| Error::Timeout(PATIENCE))?
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tool_that_never_ends_is_not_waited_for() {
        let ended = patiently(pending::<Result<(), Error>>()).await;
        assert!(matches!(ended, Err(Error::Timeout(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_not_taken_for_a_table_without_rules() {
        let found = rules(Family::Ipv4, "nonsense", "OURS").await;
        assert!(matches!(found, Err(Error::Refused { .. })), "{found:?}");
    }
}
