//! A graph of functions.

use api_types::minik8s::Workflow;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Workflow, _>(Plain).short_names(&["wf"]).status().build()
}
