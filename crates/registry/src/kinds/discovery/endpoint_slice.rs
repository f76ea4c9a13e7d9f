//! A part of a Service's addresses.

use api_types::api::discovery::v1::EndpointSlice;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<EndpointSlice, _>(Plain).build()
}
