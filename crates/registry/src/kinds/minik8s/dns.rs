//! A host name whose paths lead to Services.

use api_types::minik8s::Dns;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Dns, _>(Plain).short_names(&["dns"]).status().build()
}
