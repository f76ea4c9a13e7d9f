//! What a pod's status is computed from.

use std::collections::{BTreeMap, BTreeSet};

use api_types::{api::core::v1::Pod, jiff::Timestamp};

use crate::{admission::Pending, probe::results::Probed, runtime::observed::Observed};

/// Why a container is not running yet, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `CrashLoopBackOff`, `ErrImagePull`, …
    pub reason: String,
    /// The sentence with the details.
    pub message: String,
}

/// An image that was pulled for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledImage {
    /// As the spec names it.
    pub reference: String,
    /// Its content id.
    pub id: String,
}

/// What has come of a pod's wish for another share of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resizing {
    /// Whether it asks for another than it has.
    pub wanted: bool,
    /// Why it does not get it.
    pub pending: Option<Pending>,
    /// The pod's generation of which that was said.
    pub generation: Option<i64>,
    /// Why its containers can't be given what it got, by name.
    pub refused: BTreeMap<String, Refused>,
}

/// Why a container can't be given what its pod got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// What stays the same of it, however often it is tried.
    pub cause: String,
    /// The sentence with the details, as it was said first.
    pub message: String,
    /// How often it was tried.
    pub tries: u32,
}

/// What the status is computed from.
#[derive(Debug)]
pub struct StatusInput<'a> {
    /// The pod; its status is the one reported last.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub observed: &'a Observed,
    /// Whether the pod is deleted and nothing of it runs any more.
    pub terminated: bool,
    /// Why the pod must end, if it takes too much of the node.
    pub evicted: Option<&'a str>,
    /// Whether a container, or the sandbox, is being started.
    pub starting: bool,
    /// The containers that are.
    pub starts: &'a BTreeSet<String>,
    /// The images that were pulled for containers, by name.
    pub pulled: &'a BTreeMap<String, PulledImage>,
    /// Why containers are not running, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// What the probes found.
    pub probed: &'a Probed,
    /// What has come of its wish for another share of the node.
    pub resizing: &'a Resizing,
    /// What containers said at their end, by id.
    pub messages: &'a BTreeMap<String, String>,
    /// The node's address.
    pub host_ip: &'a str,
    /// That of the other family, if it has one.
    pub second_host_ip: Option<&'a str>,
    /// The pod's address, once it has one.
    pub pod_ip: Option<&'a str>,
    /// That of the other family, if it has one.
    pub second_pod_ip: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}
