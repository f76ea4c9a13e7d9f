//! The catalogue: every kind the API serves, as data plus a strategy. Pure: no I/O, no HTTP, no clock.

mod definition;
mod erased;
pub mod kinds;
mod strategy;

pub use definition::{Column, Context, Names, ResourceDef, Scope, Subresource, resource};
pub use kinds::all;
pub use strategy::{Plain, Strategy};
