//! Labels of namespaces, against what Kubernetes makes of them.

use std::collections::BTreeMap;

use pod_security::{InvalidLabel, Level, LevelVersion, Policy, Version};
use serde::Deserialize;

/// Policies are written as what is enforced, audited and warned of.
#[derive(Deserialize)]
struct Case {
    labels: BTreeMap<String, String>,
    defaults: [String; 3],
    policy: [String; 3],
    faults: Vec<String>,
}

#[test]
fn labels_make_the_policy_and_the_faults_that_they_make_in_kubernetes() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("policies.yaml")).unwrap();
    for Case { labels, defaults, policy, faults } in cases {
        let labels: BTreeMap<String, String> = labels
            .into_iter()
            .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value))
            .collect();
        let (made, found) = Policy::of_labels(&labels, read(&defaults));
        assert_eq!(made, read(&policy), "{labels:?} {defaults:?}");
        assert_eq!(found.iter().map(field_error).collect::<Vec<_>>(), faults, "{labels:?}");
    }
}

#[test]
fn a_policy_is_fully_privileged_if_no_mode_forbids_anything() {
    assert!(Policy::default().is_fully_privileged());
    let privileged = LevelVersion { level: Level::Privileged, version: Version::V1(20) };
    assert!(Policy { warn: privileged, ..Policy::default() }.is_fully_privileged());
    let baseline = LevelVersion { level: Level::Baseline, version: Version::Latest };
    assert!(!Policy { audit: baseline, ..Policy::default() }.is_fully_privileged());
}

#[test]
fn levels_are_ordered_by_strictness_and_versions_by_age() {
    assert!(Level::Privileged < Level::Baseline && Level::Baseline < Level::Restricted);
    assert!(Version::V1(9) < Version::V1(10) && Version::V1(u64::MAX) < Version::Latest);
}

/// As Kubernetes writes an invalid value.
fn field_error(fault: &InvalidLabel) -> String {
    let InvalidLabel { label, value, message } = fault;
    format!("metadata.labels[{label}]: Invalid value: {value:?}: {message}")
}

fn read(policy: &[String; 3]) -> Policy {
    let [enforce, audit, warn] = policy.each_ref().map(|mode| {
        let (level, version) = mode.split_once(':').unwrap();
        let read =
            LevelVersion { level: level.parse().unwrap(), version: version.parse().unwrap() };
        assert_eq!(read.to_string(), *mode);
        read
    });
    Policy { enforce, audit, warn }
}
