//! Whose turn it is: the node that has had none for longest.

use super::{Plugin, Questions, score};
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(crate) struct LongestWithoutTurn;

impl Plugin for LongestWithoutTurn {
    fn name(&self) -> &'static str {
        "LongestWithoutTurn"
    }

    fn questions<'a>(&'a self, _: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        Questions::score(|nodes| {
            let turns = || nodes.iter().map(|node| node.turn);
            let (first, last) = (turns().min()?, turns().max()?);
            let waited = |turn| (last - turn) as f64 / (last - first) as f64;
            (first < last).then(|| turns().map(|turn| score::share(waited(turn))).collect())
        })
    }
}
