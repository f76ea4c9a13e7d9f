//! From a container of a pod's spec to what the runtime is asked to make. Pure, except for `sources`,
//! which fetches the ConfigMaps and Secrets that a container names.

pub mod dns;
pub mod env;
pub mod files;
pub mod image;
pub mod oom_score;
pub mod resources;
pub mod security;
pub mod service_links;
pub mod sources;
