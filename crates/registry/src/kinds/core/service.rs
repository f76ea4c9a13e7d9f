//! A virtual address for a set of pods.

use api_types::api::core::v1::Service;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Service, _>(Plain).short_names(&["svc"]).categories(&["all"]).status().build()
}
