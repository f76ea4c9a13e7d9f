//! The kinds of the group.

mod defaults;
pub(super) mod horizontal_pod_autoscaler;
mod targets;
mod v1;
mod validation;
