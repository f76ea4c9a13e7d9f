//! A machine that runs pods.

use api_types::api::core::v1::Node;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Node, _>(Plain).short_names(&["no"]).status_from_creation().build()
}
