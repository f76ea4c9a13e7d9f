//! What pods that are there violate of a policy that is new.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use api_types::api::core::v1::Pod;
use pod_security::{LevelVersion, evaluate, forbidden_reason};

/// How many pods are looked at, and for how long.
pub(super) const MOST: usize = 3000;
const PATIENCE: Duration = Duration::from_secs(1);

/// What whoever has changed the policy is warned of. Of these pods, of so many that there are, one of each controller is looked
/// at before all others.
pub(super) fn violations_of_pods(
    namespace: &str,
    (pods, all): (&[Pod], usize),
    at: LevelVersion,
) -> Vec<String> {
    let mut seen = HashSet::new();
    let (first, more): (Vec<&Pod>, Vec<&Pod>) =
        pods.iter().partition(|pod| controller(pod).is_none_or(|uid| seen.insert(uid)));
    let deadline = Instant::now() + PATIENCE;
    let (mut checked, mut by_reason) = (0, BTreeMap::<String, Vec<&str>>::new());
    for pod in first.into_iter().chain(more) {
        checked += 1;
        let spec = pod.spec.as_ref();
        let violations = spec.map(|spec| evaluate(at, &pod.metadata, spec)).unwrap_or_default();
        if !violations.is_empty() {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            by_reason.entry(forbidden_reason(&violations)).or_default().push(name);
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    let mut warnings = Vec::new();
    if checked < all {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {all} existing pods"
        ));
    }
    if !by_reason.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{at}\""
        ));
    }
    let mut told: Vec<_> = by_reason.iter().map(|(reason, pods)| told(reason, pods)).collect();
    told.sort();
    warnings.extend(told);
    warnings
}

fn controller(pod: &Pod) -> Option<&str> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

fn told(reason: &str, pods: &[&str]) -> String {
    let name = pods.iter().min().unwrap_or(&"");
    match pods.len() - 1 {
        0 => format!("{name}: {reason}"),
        1 => format!("{name} (and 1 other pod): {reason}"),
        others => format!("{name} (and {others} other pods): {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use pod_security::Level;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, spec: &Value, owner: Option<&str>) -> Pod {
        let owner = owner.map(|uid| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true}]));
        let metadata = json!({"name": name, "ownerReferences": owner});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn pods_that_violate_a_new_policy_are_told_together_by_what_they_violate() {
        let plain = json!({"containers": [{"name": "c", "image": "i"}]});
        let host = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i"}]});
        let pods = [
            pod("d", &host, Some("a")),
            pod("b", &host, Some("a")),
            pod("c", &host, None),
            pod("a", &plain, None),
        ];
        let baseline = LevelVersion { level: Level::Baseline, ..LevelVersion::default() };
        let expected = [
            "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "b (and 2 other pods): host namespaces",
        ];
        assert_eq!(violations_of_pods("n", (&pods, 4), baseline), expected);
        assert!(violations_of_pods("n", (&pods[3..], 1), baseline).is_empty());
        let some =
            ["new PodSecurity enforce level only checked against the first 1 of 7 existing pods"];
        assert_eq!(violations_of_pods("n", (&pods[3..], 7), baseline), some);
    }
}
