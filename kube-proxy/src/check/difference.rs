//! What a check tells of.

use serde::Serialize;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What of the node: `route`, `vxlan`, `address`, `rule` or `nginx`.
    pub part: &'static str,
    /// What about it.
    pub message: String,
}

impl Difference {
    pub(crate) fn new(part: &'static str, message: impl Into<String>) -> Self {
        Self { part, message: message.into() }
    }
}
