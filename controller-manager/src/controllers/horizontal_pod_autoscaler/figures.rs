//! What is known of a metric. Amounts are in thousandths.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::jiff::Timestamp;

/// Of one pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) value: i64,
    /// By the clock of the pod's node.
    pub(super) timestamp: Timestamp,
    /// The time before that it is a mean of.
    pub(super) window: Duration,
}

/// By the pods' names.
pub(super) type Samples = BTreeMap<String, Sample>;

/// Of one metric, or why nothing is known.
pub(super) type Figures = Result<Known, String>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// Of each pod.
    Pods(Samples),
    /// Of something else.
    Value(i64),
}

impl Known {
    pub(super) fn pods(&self) -> Result<&Samples, String> {
        match self {
            Self::Pods(samples) => Ok(samples),
            Self::Value(_) => Err("no metrics returned matched known pods".to_owned()),
        }
    }

    pub(super) fn value(&self) -> Result<i64, String> {
        match self {
            Self::Value(value) => Ok(*value),
            Self::Pods(_) => Err("the metric has a value for each pod".to_owned()),
        }
    }
}
