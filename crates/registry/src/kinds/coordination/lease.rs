//! Who holds what until when.

use api_types::api::coordination::v1::Lease;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Lease, _>(Plain).build()
}
