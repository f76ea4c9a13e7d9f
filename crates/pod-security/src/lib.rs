//! The Pod Security Standards: what of a pod its namespace's policy forbids, in Kubernetes' own words. Pure: who asks,
//! which pods are asked about and what becomes of the answer is the admission's.
//!
//! A [`Policy`] is read from a namespace's labels. [`evaluate`] runs the checks of one [`Level`] as they were at one
//! [`Version`]; [`forbidden_reason`] and [`forbidden_detail`] make one text of what they found.
//!
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

mod check;
mod checks;
mod evaluate;
mod label;
mod level;
mod pod;
mod policy;
mod version;
mod violation;
mod wording;

pub use evaluate::evaluate;
pub use label::InvalidLabel;
pub use level::{Level, UnknownLevel};
pub use policy::{LevelVersion, Policy};
pub use version::{UnknownVersion, Version};
pub use violation::{Violation, forbidden_detail, forbidden_reason};
