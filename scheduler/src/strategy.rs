//! The strategies a user can choose between: a name for what counts beside the pod's own preferences. Among the
//! nodes with the best score chance decides, so a strategy that counts nothing is the random one.

use std::fmt;
use std::str::FromStr;

use crate::plugins::{FewestPods, MostPods, Plugin};

/// A named way to choose.
#[derive(Clone, Copy)]
pub struct Strategy {
    name: &'static str,
    score: Option<&'static dyn Plugin>,
    /// Whether each search for nodes begins where the one before ended. One that fills nodes would fill as many at
    /// a time as there are places to begin.
    rotates: bool,
}

/// Every strategy; the first is the usual one.
pub const ALL: &[Strategy] = &[
    Strategy { name: "min-pods", score: Some(&FewestPods), rotates: true },
    Strategy { name: "max-pods", score: Some(&MostPods), rotates: false },
    Strategy { name: "random", score: None, rotates: true },
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

    /// What it counts.
    pub(crate) fn score(&self) -> Option<&'static dyn Plugin> {
        self.score
    }

    /// Whether nodes take turns in being looked at.
    pub(crate) fn rotates(&self) -> bool {
        self.rotates
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
            r#"unknown strategy "fastest", expected one of: min-pods, max-pods, random"#
        );
    }
}
