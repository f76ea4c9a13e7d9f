//! An identity for pods.

use api_types::api::core::v1::ServiceAccount;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<ServiceAccount, _>(Plain).short_names(&["sa"]).build()
}
