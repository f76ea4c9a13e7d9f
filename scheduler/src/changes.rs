//! What of a node, and of the pods on it, may change in a way that helps a pod that fitted nowhere.

use bitflags::bitflags;

bitflags! {
    /// What has changed. Heartbeats are no change.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Changes: u16 {
        /// The node is new.
        const ADDED = 1;
        /// Its labels.
        const LABELS = 1 << 1;
        /// The taints that keep pods away, with those that stand for its conditions.
        const TAINTS = 1 << 2;
        /// Whether it is cordoned.
        const CORDON = 1 << 3;
        /// What pods may take in total.
        const ALLOCATABLE = 1 << 4;
        /// Its pods take less of a resource, or are fewer.
        const RESOURCES = 1 << 5;
        /// Its pods have left ports of the host.
        const PORTS = 1 << 6;
        /// A pod has come there.
        const POD = 1 << 7;
        /// What can be used where, of storage. It is no node's.
        const VOLUMES = 1 << 8;
    }
}
