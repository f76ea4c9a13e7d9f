//! What clients did, and what watches told.

use std::collections::BTreeMap;

/// A moment of the test: what ended before something else began has a smaller one.
pub(super) type Moment = u64;

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Each value is written by one action.
    Create(String),
    /// On condition that it is still at a version.
    Update {
        base: u64,
        value: String,
    },
    Patch(String),
    /// On condition that it is still at a version, if there is one.
    Delete {
        base: Option<u64>,
    },
    Get,
    List,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As this version.
    Written(u64),
    /// The object of this uid.
    Deleted(String),
    /// The version of the object, if it is there.
    Read(Option<u64>),
    /// The versions of all objects, and that of the list.
    Listed { at: u64, versions: BTreeMap<String, u64> },
    /// The object was not as the action needs it.
    Refused,
    /// Nobody said.
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) key: String,
    pub(super) action: Action,
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Added,
    Modified,
    Deleted,
}

/// What a watch told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) uid: String,
    pub(super) value: String,
}
