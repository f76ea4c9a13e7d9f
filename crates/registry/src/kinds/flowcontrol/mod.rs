//! The kinds of the group.

pub(super) mod flow_schema;
mod mandatory;
mod policy_rules;
pub(super) mod priority_level_configuration;
