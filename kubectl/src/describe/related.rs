//! What belongs to an object.

use api_types::jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

/// What is told along with an object.
#[derive(Clone, Debug)]
pub struct Related {
    /// Its events.
    pub events: Vec<Value>,
    /// Its pods: those on a node, those of a replica set or a function.
    pub pods: Vec<Value>,
    /// The ReplicaSets of a Deployment.
    pub sets: Vec<Value>,
    /// The endpoint slices of a service.
    pub slices: Vec<Value>,
    /// The quotas of a namespace.
    pub quotas: Vec<Value>,
    /// The LimitRanges of a namespace.
    pub limit_ranges: Vec<Value>,
    /// The lease of a node.
    pub lease: Option<Value>,
    /// The present, for ages.
    pub now: Timestamp,
    /// The reader's time zone.
    pub zone: TimeZone,
}

impl Related {
    /// Nothing yet, told at this time in this zone.
    #[must_use]
    pub fn new(now: Timestamp, zone: TimeZone) -> Self {
        Self {
            events: Vec::new(),
            pods: Vec::new(),
            sets: Vec::new(),
            slices: Vec::new(),
            quotas: Vec::new(),
            limit_ranges: Vec::new(),
            lease: None,
            now,
            zone,
        }
    }
}
