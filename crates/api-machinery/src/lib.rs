//! What every speaker of the API shares and what is pure: errors, selectors, patches, quantities, tables, names.

pub mod field;
pub mod status;

pub use field::{FieldError, FieldErrors, FieldPath};
pub use status::ApiError;
