//! Why a node was refused.

use std::fmt;
use std::sync::Arc;

use crate::resources::ResourceName;

/// A reason in Kubernetes' words: `Insufficient cpu`. With thousands of nodes there are thousands of them for
/// each pod that fits nowhere, so making one allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A reason that needs no more words.
    Plain(&'static str),
    /// Too little of a resource.
    Insufficient(ResourceName),
    /// A taint that the pod does not tolerate, as `{key: value}`.
    Untolerated(Arc<str>),
    /// One that names what it is about.
    Told(Arc<str>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Told(text) => f.write_str(text),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::Untolerated(taint) => write!(f, "node(s) had untolerated taint {taint}"),
        }
    }
}
