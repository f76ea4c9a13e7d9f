//! A Service's addresses, in the old form.

use api_types::api::core::v1::Endpoints;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Endpoints, _>(Plain).short_names(&["ep"]).build()
}
