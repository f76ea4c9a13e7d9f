//! The catalogue: every kind the API serves, as data plus a strategy. Pure: no I/O, no HTTP, no clock.

mod addresses;
mod any_object;
mod builder;
mod cells;
mod conditions;
mod context;
mod conversion;
mod custom_resource;
mod definition;
mod deletion;
mod description;
mod erased;
mod fields;
pub mod kinds;
mod label_selector;
mod metadata;
mod metadata_json;
mod object;
mod quantities;
mod rules;
pub mod scale;
mod signer_name;
mod strategy;
mod warnings;

pub use any_object::AnyObject;
pub use builder::{Builder, resource};
pub use context::Context;
pub use conversion::{Conversion, ConversionWebhook, SameFields};
pub use custom_resource::{
    CLEANUP_FINALIZER, CustomResource, CustomResourceError, PrinterColumn, Priority, TERMINATING,
    TakenNames, accept, condition, is_established, object_type, set_condition, versions,
};
pub use definition::ResourceDef;
pub use deletion::Deletion;
pub use description::{Column, Names, Scope, Subresource};
pub use erased::{Decoded, Part, schema_of};
pub use kinds::{
    Composition, MIRROR, SYSTEM_CLASSES, admission_expression, all, bind, computed, reviews,
    service,
};
pub use metadata::place;
pub use metadata_json::{metadata_of, without_managed_fields};
pub use object::{KnownScope, Object};
pub use scale::{ScalePaths, SelectorPath};
pub use strategy::{Exists, NameRule, Plain, Strategy};
