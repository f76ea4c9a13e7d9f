//! The strategies a user can choose between: a name for a set of scores. Among the nodes with the
//! best score chance decides, so a strategy without scores is the random one.

use std::fmt;
use std::str::FromStr;

use crate::pod::PodInfo;
use crate::scores::{FewestPods, Score};
use crate::snapshot::NodeInfo;

/// A named set of scores.
#[derive(Clone, Copy)]
pub struct Strategy {
    name: &'static str,
    scores: &'static [&'static dyn Score],
}

/// Every strategy; the first is the usual one.
pub const ALL: &[Strategy] = &[
    Strategy { name: "min-pods", scores: &[&FewestPods] },
    Strategy { name: "random", scores: &[] },
];

/// There is no strategy of this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown strategy {given:?}, expected one of: {}", names().join(", "))]
pub struct UnknownStrategy {
    given: String,
}

/// The names of all strategies.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|strategy| strategy.name).collect()
}

impl Strategy {
    /// What the user calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How good the node is; higher is better.
    pub fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        self.scores.iter().map(|score| score.score(pod, node)).fold(0, i64::saturating_add)
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = ALL.iter().find(|strategy| strategy.name == name.trim());
        found.copied().ok_or_else(|| UnknownStrategy { given: name.to_owned() })
    }
}

impl PartialEq for Strategy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strategy").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_found_by_name_and_a_wrong_name_says_which_exist() {
        assert_eq!("min-pods".parse::<Strategy>().unwrap().name(), "min-pods");
        let error = "fastest".parse::<Strategy>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"unknown strategy "fastest", expected one of: min-pods, random"#
        );
    }
}
