//! An identity for pods.

use api_types::api::core::v1::ServiceAccount;
use serde_json::json;

use crate::{Plain, ResourceDef, Subresource, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<ServiceAccount, _>(Plain)
        .short_names(&["sa"])
        .shown_when_deleted()
        .subresource(Subresource::Token)
        .column("Secrets", "string", 0, |account, _| {
            json!(account.secrets.as_ref().map_or(0, Vec::len))
        })
        .build()
}
