//! Choosing objects by their labels or fields.

mod field;
mod label;
mod lexer;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// A text (or object) that is no selector, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);
