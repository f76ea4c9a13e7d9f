//! Who owns which fields of an object, and what becomes of it when somebody applies a configuration: server-side apply.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff`; an object is a JSON value, whose [`Shapes`] say what is
//! owned field by field, and what as a whole.

mod created;
mod field_set;
mod fields_v1;
mod key_fields;
mod lists;
mod managers;
mod shape;
mod typed;
mod updater;

pub use created::fields_of_created;
pub use field_set::{FieldSet, PathElement};
pub use managers::{Manager, Managers};
pub use shape::{Shape, Shapes};
pub use typed::{Comparison, Misfit, check, compare, merge, set_of, without};
pub use updater::{Applied, Conflict, Conflicts, Rules, apply, update};
