//! A serverless function.

use api_types::minik8s::Function;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Function, _>(Plain).short_names(&["func"]).status().build()
}
