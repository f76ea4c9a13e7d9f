//! The conditions of a namespace that is being deleted, in Kubernetes' words. Pure.

use std::collections::BTreeMap;

use api_types::api::core::v1::NamespaceCondition;
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use super::content::Outcome;

/// Type, and reason and message when all is well.
const TYPES: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

/// What to say if some group versions could not be asked for their resources.
pub(super) fn discovery_failure(failing: &[String]) -> Option<String> {
    let stale = failing.iter().map(|name| format!("{name}: stale GroupVersion discovery: {name}"));
    let stale: Vec<_> = stale.collect();
    (!stale.is_empty()).then(|| {
        format!(
            "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
            stale.len(),
            stale.join(", ")
        )
    })
}

/// The conditions that have to be written; none if nothing has changed, or nothing was ever wrong.
pub(super) fn news(
    known: &[NamespaceCondition],
    outcome: &Outcome,
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let old = |kind: &str| known.iter().find(|condition| condition.type_ == kind);
    let wanted = TYPES.map(|names| condition(names, outcome));
    if wanted.iter().all(|new| new.status == "False" && old(&new.type_).is_none()) {
        return Vec::new();
    }
    let changed = wanted.into_iter().filter_map(|new| {
        let old = old(&new.type_);
        let since = old.filter(|old| old.status == new.status);
        let since = since.and_then(|old| old.last_transition_time.clone());
        let new =
            NamespaceCondition { last_transition_time: Some(since.unwrap_or(Time(now))), ..new };
        (!old.is_some_and(|old| says_the_same(old, &new))).then_some(new)
    });
    changed.collect()
}

fn says_the_same(old: &NamespaceCondition, new: &NamespaceCondition) -> bool {
    (&old.status, &old.reason, &old.message) == (&new.status, &new.reason, &new.message)
}

fn condition(
    (kind, ok_reason, ok_message): (&str, &str, &str),
    outcome: &Outcome,
) -> NamespaceCondition {
    let wrong = match kind {
        "NamespaceDeletionDiscoveryFailure" => {
            outcome.discovery_failure.clone().map(|why| ("DiscoveryFailed", why))
        }
        "NamespaceDeletionContentFailure" => {
            errors(outcome).map(|why| ("ContentDeletionFailed", why))
        }
        "NamespaceContentRemaining" => remaining(outcome).map(|why| ("SomeResourcesRemain", why)),
        // Discovery's answer is read as a whole.
        "NamespaceDeletionGroupVersionParsingFailure" => None,
        _ => finalizers(outcome).map(|why| ("SomeFinalizersRemain", why)),
    };
    let status = if wrong.is_some() { "True" } else { "False" };
    let (reason, message) = wrong.unwrap_or((ok_reason, ok_message.to_owned()));
    NamespaceCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: None,
    }
}

fn errors(outcome: &Outcome) -> Option<String> {
    let mut errors: Vec<_> = outcome.errors.iter().map(|error| error.reason()).collect();
    errors.sort();
    (!errors.is_empty()).then(|| {
        format!(
            "Failed to delete all resource types, {} remaining: {}",
            errors.len(),
            errors.join(", ")
        )
    })
}

fn remaining(outcome: &Outcome) -> Option<String> {
    let list = listed(&outcome.remaining, |name, n| format!("{name} has {n} resource instances"))?;
    Some(format!("Some resources are remaining: {list}"))
}

fn finalizers(outcome: &Outcome) -> Option<String> {
    let list = listed(&outcome.finalizers, |name, n| format!("{name} in {n} resource instances"))?;
    Some(format!("Some content in the namespace has finalizers remaining: {list}"))
}

fn listed(
    counts: &BTreeMap<String, usize>,
    describe: impl Fn(&String, &usize) -> String,
) -> Option<String> {
    let list: Vec<_> = counts.iter().map(|(name, count)| describe(name, count)).collect();
    (!list.is_empty()).then(|| list.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::frame::Error;

    use super::super::fault::Fault;
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// News as `type=status reason: message`.
    fn check(known: &[NamespaceCondition], outcome: &Outcome, expected: &[&str]) {
        let describe = |new: &NamespaceCondition| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{}={} {}: {}", new.type_, new.status, text(&new.reason), text(&new.message))
        };
        let news = news(known, outcome, at("2026-01-01T00:01:00Z"));
        assert_eq!(news.iter().map(describe).collect::<Vec<_>>(), expected);
    }

    fn away(why: &str) -> Error {
        Fault::Undiscovered(why.to_owned()).into()
    }

    fn trouble() -> Outcome {
        let counts = |list: &[(&str, usize)]| {
            list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        Outcome {
            remaining: counts(&[("pods.", 2), ("replicasets.apps", 1)]),
            finalizers: counts(&[("example.com/hold", 3)]),
            errors: ["b is away", "a is away"].map(away).into(),
            discovery_failure: discovery_failure(&["metrics.k8s.io/v1".to_owned()]),
            ..Outcome::default()
        }
    }

    #[test]
    fn what_is_left_and_what_went_wrong_is_told_in_kubernetes_words() {
        check(&[], &Outcome::default(), &[]);
        check(
            &[],
            &trouble(),
            &[
                "NamespaceDeletionDiscoveryFailure=True DiscoveryFailed: Discovery failed for some groups, 1 \
                 failing: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1: stale \
                 GroupVersion discovery: metrics.k8s.io/v1",
                "NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types \
                 successfully parsed",
                "NamespaceDeletionContentFailure=True ContentDeletionFailed: Failed to delete all resource \
                 types, 2 remaining: a is away, b is away",
                "NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: pods. has 2 \
                 resource instances, replicasets.apps has 1 resource instances",
                "NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has \
                 finalizers remaining: example.com/hold in 3 resource instances",
            ],
        );
    }

    #[test]
    fn a_condition_is_written_when_it_changes_and_keeps_its_time_while_it_lasts() {
        let told = news(&[], &trouble(), at("2026-01-01T00:00:00Z"));
        check(&told, &trouble(), &[]);
        let fewer = Outcome { remaining: BTreeMap::from([("pods.".to_owned(), 1)]), ..trouble() };
        let news = news(&told, &fewer, at("2026-01-01T00:01:00Z"));
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].last_transition_time, told[0].last_transition_time);
        check(
            &told,
            &Outcome::default(),
            &[
                "NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully \
                 discovered",
                "NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be \
                 waiting on finalization",
                "NamespaceContentRemaining=False ContentRemoved: All content successfully removed",
                "NamespaceFinalizersRemaining=False ContentHasNoFinalizers: All content-preserving finalizers \
                 finished",
            ],
        );
    }
}
