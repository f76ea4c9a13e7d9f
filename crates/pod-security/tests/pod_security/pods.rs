//! Pods at every version of both levels, against what Kubernetes says of them.

use std::collections::BTreeMap;

use api_types::api::core::v1::Pod;
use pod_security::{Level, LevelVersion, Version, evaluate, forbidden_detail};
use serde::Deserialize;

/// A pod, and for each level the versions at which what is said of it changes.
#[derive(Deserialize)]
struct Case {
    pod: Pod,
    baseline: BTreeMap<String, String>,
    restricted: BTreeMap<String, String>,
}

#[test]
fn every_pod_is_judged_at_every_version_as_by_kubernetes() {
    for Case { pod, baseline, restricted } in cases() {
        check(&pod, Level::Baseline, &baseline);
        check(&pod, Level::Restricted, &restricted);
    }
}

#[test]
fn nothing_violates_the_privileged_level() {
    for Case { pod, .. } in cases() {
        assert_eq!(detail(&pod, Level::Privileged, Version::Latest), "");
        assert_eq!(detail(&pod, Level::Privileged, Version::V1(0)), "");
    }
}

fn cases() -> Vec<Case> {
    serde_yaml::from_str(include_str!("pods.yaml")).unwrap()
}

fn check(pod: &Pod, level: Level, changes: &BTreeMap<String, String>) {
    let changes: BTreeMap<Version, &str> =
        changes.iter().map(|(since, detail)| (since.parse().unwrap(), detail.as_str())).collect();
    for version in (0..=40).map(Version::V1).chain([Version::Latest]) {
        let (_, expected) = changes.range(..=version).next_back().unwrap();
        assert_eq!(detail(pod, level, version), *expected, "{level}:{version} of {pod:?}");
    }
}

fn detail(pod: &Pod, level: Level, version: Version) -> String {
    let spec = pod.spec.as_ref().unwrap();
    forbidden_detail(&evaluate(LevelVersion { level, version }, &pod.metadata, spec))
}
