//! A number of pods alike.

use api_types::api::apps::v1::ReplicaSet;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<ReplicaSet, _>(Plain)
        .short_names(&["rs"])
        .categories(&["all"])
        .status()
        .subresource(crate::Subresource::Scale)
        .build()
}
