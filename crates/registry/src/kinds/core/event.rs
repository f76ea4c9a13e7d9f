//! What happened to an object.

use api_types::api::core::v1::Event;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Event, _>(Plain).short_names(&["ev"]).build()
}
