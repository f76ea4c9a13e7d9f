//! The packet filter's rules in the words of nftables: tables of ours, with chains, sets and maps as plain data, which are
//! compared with those that are there. They are read as `nft -j` tells them, and written by `nft -f`: all that changes in
//! a table changes at once.
//!
//! What becomes of a change is a function from what is there and what is wanted to the text of a transaction. Both may
//! be a part of a table that one owner keeps, so that a change costs what it changes, whatever else is in the table.
//!
//! Why the program and not netlink: its language is the stable interface to the kernel's rules, libraries in Rust for it
//! call this same program (`nftables`) or lack `numgen`, maps and sets that the kernel fills (`rustables`).
//!
//! Rules are recognised by a digest in their comments: nft's versions list one and the same rule in different words.

mod changes;
mod contents;
mod found;
mod tool;

use std::io;

use crate::{Error, patiently};

pub use contents::{Chain, Contents, Set, SetKind, Table};
pub use found::Found;

impl Table {
    /// What is there of the table; `None` if nothing is.
    ///
    /// # Errors
    /// The tool is not there, or does not end.
    pub async fn read(&self) -> Result<Option<Found>, Error> {
        self.list(&["-j"]).await
    }

    /// The same without elements, which may be many.
    ///
    /// # Errors
    /// The tool is not there, or does not end.
    pub async fn read_rules(&self) -> Result<Option<Found>, Error> {
        self.list(&["-j", "-t"]).await
    }

    async fn list(&self, options: &[&str]) -> Result<Option<Found>, Error> {
        let listed = patiently(tool::list(options, self)).await?;
        listed.map(|json| Found::parse(&json)).transpose().map_err(|error| Error::Refused {
            command: format!("nft -j list table {} {}", self.family, self.name),
            message: format!("what it lists can't be understood: {error}"),
        })
    }

    /// Makes of what is there of a part what is wanted of it, at once; tells whether it was not.
    ///
    /// # Errors
    /// The tool is not there, does not end, or refuses: perhaps because something else is there. Then nothing has changed.
    pub async fn change(&self, found: &Found, wanted: &Contents) -> Result<bool, Error> {
        let Some(text) = changes::text(self, found, wanted) else { return Ok(false) };
        patiently(tool::run(&text)).await.map(|()| true)
    }

    /// Makes the table what it should be, at once; tells whether it was not.
    ///
    /// # Errors
    /// As for [`Table::change`].
    pub async fn ensure(&self, wanted: &Contents) -> Result<bool, Error> {
        match self.read().await? {
            Some(found) => self.change(&found, wanted).await,
            None => self.replace(wanted).await.map(|()| true),
        }
    }

    /// Makes the table anew, at once; it need not be there.
    ///
    /// # Errors
    /// The tool is not there, does not end, or refuses. Then nothing has changed.
    pub async fn replace(&self, wanted: &Contents) -> Result<(), Error> {
        patiently(tool::run(&changes::anew(self, wanted))).await
    }

    /// What of the table is not as it should be, in words; nothing is wanted of one that should not be there. Nothing is changed.
    ///
    /// # Errors
    /// The tool is not there though something is wanted, or does not end.
    pub async fn differences(&self, wanted: Option<&Contents>) -> Result<Vec<String>, Error> {
        let name = format!("table {} {}", self.family, self.name);
        match (self.read().await, wanted) {
            // Where there is no tool there is no table.
            (Err(Error::Run(_, error)), None) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            (Err(error), _) => Err(error),
            (Ok(None), None) => Ok(Vec::new()),
            (Ok(None), Some(_)) => Ok(vec![format!("{name} is missing")]),
            (Ok(Some(_)), None) => Ok(vec![format!("{name} is left over")]),
            (Ok(Some(found)), Some(wanted)) => {
                let found = found.differences(wanted).into_iter();
                Ok(found.map(|what| format!("{name}: {what}")).collect())
            }
        }
    }

    /// Whether its family has another table whose name begins so.
    ///
    /// # Errors
    /// The tool is not there, or does not end.
    pub async fn has_another(&self, beginning: &str) -> Result<bool, Error> {
        let names = patiently(tool::names(self.family)).await?;
        Ok(names.iter().any(|name| name.starts_with(beginning) && *name != self.name))
    }

    /// Removes the table; it need not be there.
    ///
    /// # Errors
    /// The tool is not there, does not end, or refuses.
    pub async fn remove(&self) -> Result<(), Error> {
        patiently(tool::run(&changes::gone(self))).await
    }
}
