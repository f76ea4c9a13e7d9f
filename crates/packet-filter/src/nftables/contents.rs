//! What there should be of a table.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// A table of ours, of which nothing is anybody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `ip`, `ip6`, `inet` or `bridge`.
    pub family: &'static str,
    /// Its name; it begins with a letter.
    pub name: String,
}

/// What is in a table, or in a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// By name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and maps, by name.
    pub sets: BTreeMap<String, Set>,
    /// By set and key, both as nft lists them. What a map has for the key; nothing for a set.
    pub elements: BTreeMap<(String, String), String>,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where packets come in: `type nat hook output priority -100`. Without it, from other chains.
    pub hook: Option<String>,
    /// Without comments.
    pub rules: Vec<String>,
}

/// A set or a map. Elements of one with `timeout` are the kernel's own, and not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Which of both.
    pub kind: SetKind,
    /// What it holds: `type ipv4_addr; flags interval`.
    pub definition: String,
}

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Keys.
    Set,
    /// Keys, with something for each.
    Map,
}

impl Contents {
    /// This and that.
    pub fn extend(&mut self, more: Contents) {
        self.chains.extend(more.chains);
        self.sets.extend(more.sets);
        self.elements.extend(more.elements);
    }
}

impl Chain {
    /// What it is recognised by, rule by rule.
    pub(super) fn digests(&self) -> impl Iterator<Item = String> {
        let hook = self.hook.clone().unwrap_or_default();
        self.rules.iter().map(move |rule| digest(&[&hook, rule]))
    }
}

impl Set {
    pub(super) fn digest(&self) -> String {
        digest(&[self.kind.word(), &self.definition])
    }
}

impl SetKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            SetKind::Set => "set",
            SetKind::Map => "map",
        }
    }
}

fn digest(parts: &[&str]) -> String {
    Sha256::digest(parts.join("\n")).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
