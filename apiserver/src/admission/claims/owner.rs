//! Whom values are claimed for.

use api_types::meta::ObjectMeta;
use serde::{Deserialize, Serialize};
use store::Revision;

/// Whom a value is claimed for. It need not exist yet, or any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) uid: Option<String>,
}

/// A claim as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) owner: Owner,
    pub(crate) revision: Revision,
    /// Whether a server has made it: what somebody else has made is theirs to give back.
    pub(crate) is_ours: bool,
}

impl Owner {
    /// A service that has, or will have, this UID.
    pub(crate) fn of(namespace: Option<&str>, name: Option<&str>, uid: &str) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { namespace: owned(namespace), name: owned(name), uid: Some(uid.to_owned()) }
    }

    /// The same of its metadata, which may have no UID yet.
    pub(crate) fn named(service: &ObjectMeta, uid: &str) -> Self {
        Self::of(service.namespace.as_deref(), service.name.as_deref(), uid)
    }

    /// The service that has this metadata.
    pub(crate) fn holder(service: &ObjectMeta) -> Self {
        Self::named(service, service.uid.as_deref().unwrap_or_default())
    }

    /// Claims that were made before they had UIDs are their service's by name.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.uid, &other.uid) {
            (Some(uid), Some(other)) => uid == other,
            _ => (&self.namespace, &self.name) == (&other.namespace, &other.name),
        }
    }
}
