//! Who may do what: roles, and whom they are given to (Kubernetes: `pkg/apis/rbac`).

pub(crate) mod binding;
pub(crate) mod role;
