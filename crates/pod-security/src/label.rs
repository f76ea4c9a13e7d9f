//! The labels of a namespace that say its policy.

use std::{collections::BTreeMap, str::FromStr};

pub(crate) const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
pub(crate) const ENFORCE_VERSION: &str = "pod-security.kubernetes.io/enforce-version";
pub(crate) const AUDIT: &str = "pod-security.kubernetes.io/audit";
pub(crate) const AUDIT_VERSION: &str = "pod-security.kubernetes.io/audit-version";
pub(crate) const WARN: &str = "pod-security.kubernetes.io/warn";
pub(crate) const WARN_VERSION: &str = "pod-security.kubernetes.io/warn-version";

/// A label that cannot be read: an invalid value at `metadata.labels[<label>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLabel {
    /// The label's key.
    pub label: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub message: String,
}

/// What a label says.
#[derive(Clone, Copy)]
pub(crate) enum Reading<T> {
    Absent,
    Invalid,
    Valid(T),
}

impl<T: Copy + FromStr<Err: ToString>> Reading<T> {
    /// Reads a label; what cannot be read joins the faults.
    pub(crate) fn of(
        labels: &BTreeMap<String, String>,
        label: &'static str,
        faults: &mut Vec<InvalidLabel>,
    ) -> Self {
        let Some(value) = labels.get(label) else { return Self::Absent };
        match value.parse() {
            Ok(valid) => Self::Valid(valid),
            Err(error) => {
                let message = T::Err::to_string(&error);
                faults.push(InvalidLabel { label, value: value.clone(), message });
                Self::Invalid
            }
        }
    }

    pub(crate) fn resolve(self, absent: T, invalid: T) -> T {
        match self {
            Self::Absent => absent,
            Self::Invalid => invalid,
            Self::Valid(valid) => valid,
        }
    }
}
