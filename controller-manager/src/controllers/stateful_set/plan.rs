//! Which pods of a set are to be made and deleted now (Kubernetes: `pkg/controller/statefulset/stateful_set_control.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::apps::v1::{StatefulSet, StatefulSetSpec};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;

use super::identity::{self, Version, revision};
use super::ordinals::{is_wanted, ordinal, range};
use crate::pods;

/// Pods created for one set in one go.
const BURST: usize = 500;
const PARALLEL: &str = "Parallel";
const ON_DELETE: &str = "OnDelete";

/// A set, its versions, and what time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) set: &'a StatefulSet,
    pub(super) spec: &'a StatefulSetSpec,
    /// That of the pods below the partition.
    pub(super) current: &'a Version,
    /// That of the template as it is.
    pub(super) update: &'a Version,
    pub(super) now: Timestamp,
}

/// What to do now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The pods to make, with their numbers.
    pub(super) create: Vec<(i64, Pod)>,
    pub(super) delete: Vec<Arc<Pod>>,
}

impl Wanted<'_> {
    /// What to do about the pods that are there.
    pub(super) fn plan(&self, pods: &[Arc<Pod>]) -> Plan {
        let numbered = pods.iter().filter_map(|pod| Some((ordinal(self.set, pod)?, pod)));
        let (replicas, condemned): (BTreeMap<_, _>, BTreeMap<_, _>) =
            numbered.partition(|(ordinal, _)| is_wanted(self.spec, *ordinal));
        let mut plan = Plan::default();
        if self.tend(&replicas, &mut plan) && self.condemn(&replicas, &condemned, &mut plan) {
            self.renew(&replicas, &mut plan);
        }
        plan
    }

    fn is_ordered(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some(PARALLEL)
    }

    /// Makes the pods that are missing; whether all is so far that others may go. In order each waits for those before.
    fn tend(&self, replicas: &BTreeMap<i64, &Arc<Pod>>, plan: &mut Plan) -> bool {
        let (start, count) = range(self.spec);
        for ordinal in start..start + count {
            match replicas.get(&ordinal) {
                None => {
                    plan.create.push((ordinal, self.pod(ordinal)));
                    if self.is_ordered() || plan.create.len() == BURST {
                        return false;
                    }
                }
                Some(pod) if pods::is_finished(pod) => {
                    plan.delete.extend((!pods::is_terminating(pod)).then(|| Arc::clone(pod)));
                    if self.is_ordered() {
                        return false;
                    }
                }
                Some(pod) if self.is_ordered() && !self.is_available(pod) => return false,
                Some(_) => {}
            }
        }
        true
    }

    /// By which version: below the partition, or among the first as many as there are of the current one, by that.
    fn pod(&self, ordinal: i64) -> Pod {
        let (start, _) = range(self.spec);
        let update = self.spec.update_strategy.as_ref();
        let is_rolling = update.is_none_or(|it| it.type_.as_deref() != Some(ON_DELETE));
        let rolling = update.and_then(|update| update.rolling_update.as_ref());
        let kept = match rolling {
            Some(rolling) => rolling.partition.unwrap_or(0),
            None if is_rolling => {
                self.set.status.as_ref().and_then(|it| it.current_replicas).unwrap_or(0)
            }
            None => 0,
        };
        let version = if ordinal < start + i64::from(kept) { self.current } else { self.update };
        identity::pod(self.set, self.spec, version, ordinal)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.spec.min_ready_seconds.unwrap_or_default();
        let wait = pods::until_available(pod, min_ready, self.now);
        !pods::is_terminating(pod)
            && pods::phase(pod) == "Running"
            && wait.is_some_and(|it| it <= 0)
    }

    /// Deletes pods that are too many, the last one first; whether there is nothing to be waited for. In order, one that does
    /// not serve goes only if all the others do.
    fn condemn(
        &self,
        replicas: &BTreeMap<i64, &Arc<Pod>>,
        condemned: &BTreeMap<i64, &Arc<Pod>>,
        plan: &mut Plan,
    ) -> bool {
        if !self.is_ordered() {
            let going = condemned.values().filter(|pod| !pods::is_terminating(pod));
            plan.delete.extend(going.map(|&pod| Arc::clone(pod)));
            return true;
        }
        let Some((number, last)) = condemned.last_key_value() else { return true };
        let all = replicas.iter().chain(condemned);
        let unavailable = all.filter(|(_, pod)| !self.is_available(pod)).map(|(number, _)| number);
        let is_only_trouble = unavailable.min_by_key(|it| (!is_wanted(self.spec, **it), **it));
        let may_go = self.is_available(last) || is_only_trouble == Some(number);
        if may_go && !pods::is_terminating(last) {
            plan.delete.push(Arc::clone(last));
        }
        false
    }

    /// Deletes one pod that is of an older version, the last one first, if those after it serve.
    fn renew(&self, replicas: &BTreeMap<i64, &Arc<Pod>>, plan: &mut Plan) {
        let update = self.spec.update_strategy.as_ref();
        if update.is_some_and(|update| update.type_.as_deref() == Some(ON_DELETE)) {
            return;
        }
        let rolling = update.and_then(|update| update.rolling_update.as_ref());
        let first =
            range(self.spec).0 + i64::from(rolling.and_then(|it| it.partition).unwrap_or(0));
        let made: Vec<i64> = plan.create.iter().map(|(ordinal, _)| *ordinal).collect();
        for (ordinal, pod) in replicas.range(first..).rev() {
            if made.iter().any(|made| made > ordinal) {
                return;
            }
            if revision(pod) != self.update.name && !pods::is_terminating(pod) {
                if !plan.delete.iter().any(|it| Arc::ptr_eq(it, pod)) {
                    plan.delete.push(Arc::clone(pod));
                }
                return;
            }
            if !self.is_available(pod) {
                return;
            }
        }
    }
}
