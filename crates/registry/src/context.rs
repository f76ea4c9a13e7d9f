//! What a request tells the registry about itself.

use api_types::jiff::Timestamp;

/// What the server adds to an object that it can't know by itself, so that this crate stays pure.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time of the request.
    pub now: Timestamp,
    /// For the object's UID, if it is created.
    pub uid: String,
    /// The namespace of the request's path; `None` for cluster-scoped resources.
    pub namespace: Option<String>,
    /// The name of the request's path; `None` for POST to a collection.
    pub name: Option<String>,
    /// Random suffix for `metadata.generateName`.
    pub suffix: String,
}
