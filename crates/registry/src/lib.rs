//! The catalogue: every kind the API serves, as data plus a strategy. Pure: no I/O, no HTTP, no clock.

mod builder;
mod cells;
mod coerce;
mod definition;
mod deletion;
mod erased;
pub mod kinds;
mod metadata;
mod rules;
pub mod scale;
mod strategy;

pub use builder::{Builder, Column, KnownScope, Object, resource};
pub use definition::{Context, Names, ResourceDef, Scope, Subresource};
pub use deletion::Deletion;
pub use kinds::{all, bind};
pub use strategy::{NameRule, Plain, Strategy};
