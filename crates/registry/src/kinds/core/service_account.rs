//! An identity for pods.

use api_types::api::core::v1::ServiceAccount;
use serde_json::json;

use crate::{Exists, ResourceDef, Strategy, Subresource, resource};

const MOUNTABLE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

pub(crate) fn definition() -> ResourceDef {
    resource::<ServiceAccount, _>(ServiceAccountStrategy)
        .short_names(&["sa"])
        .shown_when_deleted()
        .subresource(Subresource::Token)
        .column("Secrets", "string", 0, |account, _| {
            json!(account.secrets.as_ref().map_or(0, Vec::len))
        })
        .build()
}

struct ServiceAccountStrategy;

impl Strategy<ServiceAccount> for ServiceAccountStrategy {
    fn warnings(
        &self,
        new: &ServiceAccount,
        old: Option<&ServiceAccount>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        if old.is_some_and(is_limited) || !is_limited(new) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{MOUNTABLE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }
}

fn is_limited(account: &ServiceAccount) -> bool {
    account.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MOUNTABLE_SECRETS))
}
