//! A space of names.

use api_types::api::core::v1::Namespace;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Namespace, _>(Plain)
        .short_names(&["ns"])
        .status()
        .subresource(crate::Subresource::Finalize)
        .build()
}
