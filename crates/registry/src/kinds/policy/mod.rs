//! The kinds of the group.

pub(super) mod pod_disruption_budget;
