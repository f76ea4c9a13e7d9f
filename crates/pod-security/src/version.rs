//! Which Kubernetes' idea of a level is meant: the checks change from version to version.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use thiserror::Error;

/// A version of the standards; `latest` is newer than every other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// That of Kubernetes 1 with this minor version.
    V1(u64),
    /// The newest that is known.
    #[default]
    Latest,
}

/// No version is written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(r#"must be "latest" or "v1.x""#)]
pub struct UnknownVersion;

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        match text.strip_prefix("v1.") {
            Some(minor) => minor_version(minor).map(Self::V1).ok_or(UnknownVersion),
            None if text == "latest" => Ok(Self::Latest),
            None => Err(UnknownVersion),
        }
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// Digits without a leading zero that fit into Go's `int`.
fn minor_version(digits: &str) -> Option<u64> {
    let canonical = digits == "0" || !digits.starts_with(['0', '+']);
    let minor = digits.parse::<u64>().ok().filter(|_| canonical)?;
    i64::try_from(minor).is_ok().then_some(minor)
}
