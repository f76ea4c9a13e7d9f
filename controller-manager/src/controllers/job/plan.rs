//! Which pods of a Job are made or deleted next (Kubernetes: `manageJob`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::Pod;

use super::assessment::{Assessment, Indexes, View, count};
use super::back_off;
use super::job_pod::{Wanted, all_failures, ended_at, failures_after, index, is_going};
use super::spec::{indexes, is_suspended, replaces_ended_pods};
use crate::pod_control::victims;

/// Pods made or deleted in one go.
const BURST: usize = 500;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    Nothing,
    Create(Vec<Wanted>),
    /// They are too many, and count for nothing.
    Delete(Vec<Arc<Pod>>),
    /// A pod has failed: it is replaced after this time.
    Wait(Duration),
}

/// What is to be done for a Job that goes on.
pub(super) fn of(view: &View<'_>, now: &Assessment) -> Action {
    if is_suspended(view.spec) {
        return delete(now.active.clone());
    }
    let wanted = wanted(view, now);
    let surplus = surplus(view, now, now.active.len().saturating_sub(wanted));
    if !surplus.is_empty() {
        return delete(surplus);
    }
    let going = if replaces_ended_pods(view.spec) { now.going } else { 0 };
    match wanted.saturating_sub(going + now.active.len()).min(BURST) {
        0 => Action::Nothing,
        missing => create(view, now, missing),
    }
}

fn delete(mut pods: Vec<Arc<Pod>>) -> Action {
    pods.truncate(BURST);
    if pods.is_empty() { Action::Nothing } else { Action::Delete(pods) }
}

/// How many pods there are to be. Without a number of completions, none is made once one has succeeded.
fn wanted(view: &View<'_>, now: &Assessment) -> usize {
    let parallelism = count(view.spec.parallelism);
    match view.spec.completions {
        None if now.succeeded > 0 => now.active.len(),
        None => parallelism,
        Some(_) => count(view.spec.completions).saturating_sub(now.succeeded).min(parallelism),
    }
}

/// Pods without an index of their own, where they have one, and as many others as are at least too many.
fn surplus(view: &View<'_>, now: &Assessment, least: usize) -> Vec<Arc<Pod>> {
    let choose = |pods: &[Arc<Pod>], count| victims::choose(pods, &[], count, view.now);
    if now.indexes.is_none() {
        return choose(&now.active, least);
    }
    let (mut by_index, mut chosen) = (BTreeMap::<u32, Vec<Arc<Pod>>>::new(), Vec::new());
    for pod in &now.active {
        match view.index(pod) {
            Some(index) => by_index.entry(index).or_default().push(pod.clone()),
            None => chosen.push(pod.clone()),
        }
    }
    let mut left = Vec::new();
    for same in by_index.into_values() {
        let second = choose(&same, same.len() - 1);
        left.extend(same.into_iter().filter(|pod| !second.contains(pod)));
        chosen.extend(second);
    }
    let more = least.saturating_sub(chosen.len());
    chosen.extend(choose(&left, more));
    chosen
}

fn create(view: &View<'_>, now: &Assessment, missing: usize) -> Action {
    let per_index = now.indexes.as_ref().is_some_and(|indexes| indexes.failed.is_some());
    let left = if per_index { Duration::ZERO } else { now.back_off.left(view.now) };
    match &now.indexes {
        _ if !left.is_zero() => Action::Wait(left),
        None => Action::Create(vec![Wanted::default(); missing]),
        Some(indexes) => create_indexed(view, now, indexes, missing),
    }
}

fn create_indexed(view: &View<'_>, now: &Assessment, of: &Indexes, missing: usize) -> Action {
    let mut taken = of.succeeded.with(now.active.iter().filter_map(|pod| index(pod)));
    if replaces_ended_pods(view.spec) {
        let going = view.pods.iter().filter(|pod| is_going(pod));
        taken = taken.with(going.filter_map(|pod| index(pod)));
    }
    if let Some(failed) = &of.failed {
        taken = taken.union(failed);
    }
    let pending = taken.missing(missing, indexes(view.spec));
    let until = |index: &u32| {
        let last = of.held.get(index);
        last.map_or(Duration::ZERO, |pod| {
            back_off::left(all_failures(pod).saturating_add(1), ended_at(pod), view.now)
        })
    };
    let due: Vec<_> = pending.iter().copied().filter(|index| until(index).is_zero()).collect();
    match pending.iter().map(until).min() {
        None => Action::Nothing,
        Some(soonest) if due.is_empty() => Action::Wait(soonest),
        Some(_) => Action::Create(due.into_iter().map(|index| pod(view, of, index)).collect()),
    }
}

fn pod(view: &View<'_>, of: &Indexes, index: u32) -> Wanted {
    let last = of.held.get(&index).map(|pod| &**pod);
    let failures = of.failed.as_ref().map(|_| failures_after(last, view.spec));
    Wanted { index: Some(index), failures }
}
