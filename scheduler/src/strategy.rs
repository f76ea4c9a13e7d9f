//! The strategies a user can choose between: a name for what counts beside the pod's own preferences. Among the
//! nodes with the best score chance decides, so a strategy that counts nothing is the random one.

use std::fmt;
use std::str::FromStr;

use api_types::minik8s::SCHEDULING_STRATEGIES;

use crate::plugins::{
    BalancedAllocation, FEWEST_OF_CONTROLLER, FEWEST_OF_CONTROLLER_OR_AT_ALL, FewestPods,
    LEAST_USED_CPU, LEAST_USED_MEMORY, LeastAllocated, LongestWithoutTurn, MostPods, Plugin,
};

/// A named way to choose.
#[derive(Clone, Copy)]
pub struct Strategy {
    name: &'static str,
    scores: &'static [&'static dyn Plugin],
    /// Whether each search for nodes begins where the one before ended. One that fills nodes would fill as many at
    /// a time as there are places to begin.
    rotates: bool,
}

/// Every strategy; the first is the usual one.
pub const ALL: &[Strategy] = &[
    Strategy::new("balanced", &[&LeastAllocated, &BalancedAllocation, &FEWEST_OF_CONTROLLER]),
    Strategy::new("spread", &[&FEWEST_OF_CONTROLLER_OR_AT_ALL]),
    Strategy::new("round-robin", &[&LongestWithoutTurn]),
    Strategy::new("min-pods", &[&FewestPods]),
    Strategy { name: "max-pods", scores: &[&MostPods], rotates: false },
    Strategy::new("min-cpu", &[&LEAST_USED_CPU]),
    Strategy::new("min-mem", &[&LEAST_USED_MEMORY]),
    Strategy::new("random", &[]),
];

/// There is no strategy of this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown strategy {given:?}, expected one of: {}", SCHEDULING_STRATEGIES.join(", "))]
pub struct UnknownStrategy {
    given: String,
}

impl Strategy {
    const fn new(name: &'static str, scores: &'static [&'static dyn Plugin]) -> Self {
        Self { name, scores, rotates: true }
    }

    /// What the user calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it counts.
    pub(crate) fn scores(&self) -> &'static [&'static dyn Plugin] {
        self.scores
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
        let names: Vec<_> = ALL.iter().map(Strategy::name).collect();
        assert_eq!(names, SCHEDULING_STRATEGIES);
        assert_eq!("min-pods".parse::<Strategy>().unwrap().name(), "min-pods");
        let error = "fastest".parse::<Strategy>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown strategy \"fastest\", expected one of: balanced, spread, round-robin, min-pods, max-pods, \
             min-cpu, min-mem, random"
        );
    }
}
