//! The messages on the topics of changes.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{History, Predecessor};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeType {
    /// It came into the topic's scope.
    Added,
    /// It changed.
    Modified,
    /// It left the topic's scope.
    Deleted,
    /// Nothing: up to this version, the topic's last change is `previous`.
    Bookmark,
}

/// One message on a topic of changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeMessage {
    /// The version of the change.
    pub resource_version: u64,
    /// There was no change in the topic's scope between this version and `resource_version`. It is the
    /// version of the change before, whether or not its message could be delivered.
    pub previous: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub type_: ChangeType,
    /// The object after the change, or its last state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<RawValue>>,
    /// The object is only named, because its contents are not for everybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The history of the store that the versions belong to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub history: String,
    /// What that history continues. Only bookmarks say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predecessors: Vec<Predecessor>,
}

impl ChangeMessage {
    /// A bookmark.
    pub(crate) fn bookmark(resource_version: u64, previous: u64) -> Self {
        let type_ = ChangeType::Bookmark;
        Self {
            resource_version,
            previous,
            type_,
            object: None,
            partial: false,
            history: String::new(),
            predecessors: Vec::new(),
        }
    }

    /// The same, and to which history it belongs.
    pub(crate) fn of(mut self, history: &History) -> Self {
        self.history.clone_from(&history.name);
        self.predecessors.clone_from(&history.predecessors);
        self
    }
}

/// Which object it is: what a message says of one whose contents it must not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reference {
    pub(crate) metadata: ReferenceMeta,
}

/// The part of the metadata that names an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReferenceMeta {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_version: Option<String>,
}
