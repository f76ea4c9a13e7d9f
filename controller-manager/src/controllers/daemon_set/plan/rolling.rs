//! How a template takes over: by deleting as many pods as may be missing, or by making as many more as there may be.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_machinery::percentage;
use api_types::IntOrString;
use api_types::api::apps::v1::{DaemonSetSpec, RollingUpdateDaemonSet};
use api_types::api::core::v1::Pod;

use super::{Plan, View, staying};
use crate::controllers::daemon_set::placement::Place;

/// The pods of a node, of which one or none is of the template, and one or none is not.
struct Pair {
    new: Option<Arc<Pod>>,
    old: Option<Arc<Pod>>,
}

impl View<'_> {
    fn most(&self, of: impl Fn(&RollingUpdateDaemonSet) -> Option<&IntOrString>) -> usize {
        let total = i32::try_from(self.desired()).unwrap_or(i32::MAX);
        let value = rolling(self.spec).and_then(of);
        let most = value.and_then(|value| percentage::of(value, total)).unwrap_or(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a number of nodes"
        )]
        {
            most.ceil().max(0.0) as usize
        }
    }

    /// How many nodes may have two pods.
    pub(super) fn most_surge(&self) -> usize {
        self.most(|rolling| rolling.max_surge.as_ref())
    }

    /// The template takes over on some nodes.
    pub(super) fn roll(&self, plan: &mut Plan) {
        if rolling(self.spec).is_none() {
            return;
        }
        match self.most_surge() {
            0 => self.roll_by_deleting(plan),
            surge => self.roll_by_surging(surge, plan),
        }
    }

    /// Those of each node that has, or is to have, one; `None` where there are too many.
    fn pairs(&self) -> impl Iterator<Item = (&String, Option<Pair>)> {
        let due = self.places.iter().filter(|(_, place)| **place == Place::Runs);
        let all: BTreeSet<_> = due.map(|(node, _)| node).chain(self.on_node.keys()).collect();
        all.into_iter().map(|node| {
            let (new, old): (Vec<_>, Vec<_>) =
                staying(self.on(node)).cloned().partition(|pod| self.is_updated(pod));
            let is_in_order = new.len() <= 1 && old.len() <= 1;
            let pair = Pair { new: new.into_iter().next(), old: old.into_iter().next() };
            (node, is_in_order.then_some(pair))
        })
    }

    /// An old pod that does not serve goes at once.
    fn roll_by_deleting(&self, plan: &mut Plan) {
        let most = self.most(|rolling| rolling.max_unavailable.as_ref()).max(1);
        let (mut unavailable, mut candidates) = (0, Vec::new());
        for (_, pair) in self.pairs() {
            match pair {
                Some(Pair { new: Some(new), old: None }) if self.is_available(&new) => {}
                Some(Pair { new: None, old: Some(old) }) if self.is_available(&old) => {
                    candidates.push(old);
                }
                Some(Pair { new: None, old: Some(old) }) => {
                    unavailable += 1;
                    plan.delete.push(old);
                }
                _ => unavailable += 1,
            }
        }
        plan.delete.extend(candidates.into_iter().take(most.saturating_sub(unavailable)));
    }

    /// Where an old pod does not serve, a new one is made at once. On a node that gets none any more it goes, if it serves
    /// only when enough others do.
    fn roll_by_surging(&self, most: usize, plan: &mut Plan) {
        let (mut surging, mut available) = (0, 0);
        let (mut candidates, mut leaving) = (Vec::new(), Vec::new());
        for (node, pair) in self.pairs() {
            let Some(Pair { new, old }) = pair else {
                surging += 1;
                continue;
            };
            let serves = old.as_ref().or(new.as_ref()).is_some_and(|pod| self.is_available(pod));
            available += usize::from(serves);
            let runs = self.places.get(node) == Some(&Place::Runs);
            match (new, old) {
                (_, None) => {}
                (None, Some(_)) if runs && serves => candidates.push(node.clone()),
                (None, Some(_)) if runs => drop(plan.create.insert(node.clone())),
                (None, Some(old)) if serves => leaving.push(old),
                (None, Some(old)) => plan.delete.push(old),
                (Some(new), Some(old)) if self.is_available(&new) => plan.delete.push(old),
                (Some(_), Some(_)) => surging += 1,
            }
        }
        plan.create.extend(candidates.into_iter().take(most.saturating_sub(surging)));
        plan.delete.extend(leaving.into_iter().take(available.saturating_sub(self.desired())));
    }
}

fn rolling(spec: &DaemonSetSpec) -> Option<&RollingUpdateDaemonSet> {
    let strategy = spec.update_strategy.as_ref()?;
    strategy.rolling_update.as_ref().filter(|_| strategy.type_.as_deref() == Some("RollingUpdate"))
}
