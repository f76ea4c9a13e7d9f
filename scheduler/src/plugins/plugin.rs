//! What a plugin is, and what it asks.

use std::fmt;

use super::reason::Reason;
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// Adds the reasons against a node; none means that it may take the pod.
pub type Filter<'a> = Box<dyn Fn(&NodeInfo, &mut Vec<Reason>) + 'a>;

/// How good each of the nodes is, from nothing to the full score. `None`: one is as good as the other.
pub type Score<'a> = Box<dyn Fn(&[&NodeInfo]) -> Option<Vec<i64>> + 'a>;

/// What a plugin asks about nodes, for one pod.
#[derive(Default)]
pub struct Questions<'a> {
    /// Of each node. `None`: it refuses none.
    pub filter: Option<Filter<'a>>,
    /// Of all that may take the pod, together. `None`: one is as good as the other.
    pub score: Option<Score<'a>>,
}

impl fmt::Debug for Questions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl<'a> Questions<'a> {
    pub(super) fn filter(filter: impl Fn(&NodeInfo, &mut Vec<Reason>) + 'a) -> Self {
        Self { filter: Some(Box::new(filter)), score: None }
    }

    pub(super) fn score(score: impl Fn(&[&NodeInfo]) -> Option<Vec<i64>> + 'a) -> Self {
        Self { filter: None, score: Some(Box::new(score)) }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { filter: self.filter.or(other.filter), score: self.score.or(other.score) }
    }
}

/// What speaks for or against nodes.
pub trait Plugin: Sync {
    /// Kubernetes' name of the plugin.
    fn name(&self) -> &'static str;

    /// What is to be asked about nodes for this pod.
    fn questions<'a>(&'a self, pod: &'a PodInfo, cluster: &'a Snapshot) -> Questions<'a>;

    /// The changes of a node and of its pods that may turn a refusal.
    fn turned_by(&self) -> Changes {
        Changes::all()
    }

    /// Whether a refused pod should be tried again, now that one of those changes has come to the node. The
    /// usual answer is that of the filter: a plugin that looks beyond the node has another.
    fn may_help(&self, pod: &PodInfo, node: &NodeInfo, cluster: &Snapshot) -> bool {
        let mut against = Vec::new();
        if let Some(filter) = self.questions(pod, cluster).filter {
            filter(node, &mut against);
        }
        against.is_empty()
    }

    /// How much the score counts.
    fn weight(&self) -> i64 {
        1
    }
}
