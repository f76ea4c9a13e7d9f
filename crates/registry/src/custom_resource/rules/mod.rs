//! Rules in CEL that a schema has for its values (`x-kubernetes-validations`; Kubernetes:
//! `apiextensions-apiserver/pkg/apiserver/schema/cel`).

mod bounds;
mod costs;
#[cfg(test)]
mod estimates;
mod evaluation;
mod field_path;
mod rule;
mod tree;
mod types;

pub use self::types::object_type;
pub(crate) use self::{rule::check as check_rules, tree::Rules};
