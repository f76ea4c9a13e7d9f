//! The kinds of the group.

pub(super) mod flow_schema;
pub(super) mod priority_level_configuration;
