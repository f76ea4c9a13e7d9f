//! Policies: rules of admission as expressions, which bindings put in force (Kubernetes:
//! `k8s.io/apiserver/pkg/admission/plugin/policy`).

mod aside;
mod configured;
mod invocation;
mod mutating;
mod param_rights;
mod params;
mod validating;

pub(super) use mutating::MutatingPolicies;
pub(super) use param_rights::ParamRights;
pub(super) use validating::ValidatingPolicies;
