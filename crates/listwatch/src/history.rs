//! To which history of the store a version belongs.
//!
//! A version is a number, and a store that was restored from a backup counts on from an older one: the same
//! number then means another state. So the API server begins a new history, with a name of its own, whenever it
//! starts or finds its store changed, and writes that into the store. A backup knows the histories that began
//! before it was made; what a listener has heard belongs to the store's past if the listener's history is among
//! them, and was succeeded by the next not before the listener's version.

use serde::{Deserialize, Serialize};

/// A history, and those that it continues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Its name, which no other has.
    pub name: String,
    /// The histories before it, as far back as is known.
    pub predecessors: Vec<Predecessor>,
}

/// A history that another one continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predecessor {
    /// Its name.
    pub name: String,
    /// The last version that belongs to it.
    pub until: u64,
}
