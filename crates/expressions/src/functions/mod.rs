//! What expressions may call: CEL's own functions, its extensions, and Kubernetes' libraries. A function is a row with its
//! signature, by which it is checked and chosen.

mod arguments;
mod authorizer;
mod conversions;
mod format;
mod ip;
mod lists;
mod moments;
mod operators;
mod optional;
mod quantity;
mod regexes;
mod semantic_version;
mod sets;
mod signature;
mod string_format;
mod strings;
mod table;
mod urls;

pub use authorizer::{AccessCheck, AccessDecision, Authorizer, authorizer, resource_check};
pub(crate) use signature::Overload;
pub(crate) use table::{find, is_namespace};
