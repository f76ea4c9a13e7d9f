//! Configuration data that is not for everyone.

use api_types::api::core::v1::Secret;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Secret, _>(Plain).build()
}
