//! Tables as they should be.

/// What a table should have of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `filter` or `nat`.
    pub name: &'static str,
    /// Our chains.
    pub chains: Vec<Chain>,
    /// What leads there. They come first in the built-in chains, the last of these before the others.
    pub jumps: Vec<Jump>,
}

/// One of our chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// At most 28 bytes.
    pub name: String,
    /// Without `-A` and the chain's name.
    pub rules: Vec<String>,
}

/// A rule in front of a built-in chain that leads to one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The built-in chain.
    pub from: &'static str,
    /// Which packets; all, if it is empty.
    pub matches: String,
    /// Our chain.
    pub to: String,
}
