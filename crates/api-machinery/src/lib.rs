//! What every speaker of the API shares and what is pure: errors, selectors, patches, quantities, tables, names.

pub mod amounts;
pub mod decode;
pub mod duration;
pub mod entry_point;
pub mod extent;
pub mod field;
pub mod host_routes;
pub mod login_node;
pub mod managed_fields;
pub mod names;
pub mod node_affinity;
pub mod patch;
pub mod percentage;
pub mod pod_trouble;
pub mod quantity;
pub mod quota;
pub mod registry_login;
pub mod selector;
pub mod status;
pub mod strict;
pub mod table;
pub mod toleration;

pub use entry_point::EntryPoint;
pub use field::{FieldError, FieldErrors, FieldPath};
pub use pod_trouble::PodTrouble;
pub use quantity::Quantity;
pub use registry_login::{RegistryLogin, registry_logins};
pub use selector::{FieldSelector, LabelSelector};
pub use status::ApiError;
