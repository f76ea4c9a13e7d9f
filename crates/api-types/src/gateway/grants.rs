//! Who may refer to objects of another namespace.

use serde::{Deserialize, Serialize};

use super::{NoStatus, kind};

kind! {
    /// Lets objects of other namespaces refer to objects of its own.
    ReferenceGrant = "ReferenceGrant", "v1beta1", "referencegrants", NamespaceResourceScope, ReferenceGrantSpec, NoStatus
}

/// Who may refer to what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantSpec {
    /// Who.
    pub from: Vec<ReferenceGrantFrom>,
    /// To what.
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that refer to others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantFrom {
    /// Their group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// Objects that are referred to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantTo {
    /// Their group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// The one that is meant; nothing: all.
    pub name: Option<String>,
}
