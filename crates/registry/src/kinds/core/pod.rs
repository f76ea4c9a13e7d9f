//! Containers that run together.

use api_types::api::core::v1::Pod;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Pod, _>(Plain)
        .short_names(&["po"])
        .categories(&["all"])
        .status()
        .subresource(crate::Subresource::Binding)
        .subresource(crate::Subresource::Log)
        .build()
}
