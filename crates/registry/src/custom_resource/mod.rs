//! Kinds that come from data while the server runs: what a `CustomResourceDefinition` says of one version, as a definition
//! like those of the kinds that have a type (Kubernetes: `apiextensions-apiserver/pkg/registry/customresource`).

mod acceptance;
mod columns;
mod extensions;
mod finalizers;
mod formats;
mod kind;
mod object;
mod priority;
mod resource;
mod rules;
mod structural_schema;
mod validation;
mod value_faults;
mod versions;

pub use self::{
    acceptance::{
        CLEANUP_FINALIZER, TERMINATING, TakenNames, accept, condition, is_established,
        set_condition,
    },
    priority::Priority,
    resource::{CustomResource, CustomResourceError, PrinterColumn},
    rules::object_type,
    versions::versions,
};
pub(crate) use self::{
    columns::is_path,
    rules::{Rules, check_rules},
    structural_schema::is_set,
    value_faults::ValueFaults,
    versions::{client_config, schemas},
};
