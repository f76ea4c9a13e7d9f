//! One run of a workflow.

use api_types::minik8s::WorkflowRun;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<WorkflowRun, _>(Plain).short_names(&["wfr"]).status().build()
}
