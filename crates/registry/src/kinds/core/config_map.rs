//! Configuration data.

use api_types::api::core::v1::ConfigMap;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<ConfigMap, _>(Plain).short_names(&["cm"]).build()
}
