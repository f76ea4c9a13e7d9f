//! Golden pairs of the seed's dialect: `dialect/<name>.seed.yaml` (or `.json`) and what it becomes,
//! `dialect/<name>.yaml`. `UPDATE_EXPECT=1 cargo test -p kubectl` writes what it becomes now.

#![allow(clippy::unwrap_used, reason = "a test shows a fault by panicking")]

use std::path::{Path, PathBuf};

use api_machinery::encode;
use kubectl::dialect::to_kubernetes;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialect")
}

fn seeds() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path());
    let mut seeds: Vec<_> = entries.filter(|p| p.to_string_lossy().contains(".seed.")).collect();
    seeds.sort();
    seeds
}

fn name(seed: &Path) -> String {
    let file = seed.file_name().unwrap().to_string_lossy();
    file.split(".seed.").next().unwrap().to_owned()
}

#[test]
fn every_seed_manifest_becomes_its_golden_form() {
    let seeds = seeds();
    assert!(seeds.len() >= 10, "the golden pairs are gone: {seeds:?}");
    for seed in seeds {
        let given = serde_yaml::from_str(&std::fs::read_to_string(&seed).unwrap()).unwrap();
        let found = encode::yaml(&to_kubernetes(given));
        let golden = folder().join(format!("{}.yaml", name(&seed)));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{}", seed.display());
    }
}

#[test]
fn the_kubernetes_form_stays_as_it_is() {
    for seed in seeds() {
        let given = serde_yaml::from_str(&std::fs::read_to_string(&seed).unwrap()).unwrap();
        let value = to_kubernetes(given);
        assert_eq!(to_kubernetes(value.clone()), value, "{}", seed.display());
    }
}

/// What Kubernetes refuses in its own versions and kinds is left for the server to refuse.
#[test]
fn manifests_that_the_seed_did_not_have_are_left_alone() {
    for manifest in [
        "{apiVersion: apps/v1, kind: ReplicaSet, spec: {template: {spec: {containers: [{name: c, cmd: [a]}]}}}}",
        "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{name: c, cmd: [a]}]}}}}",
        "{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: [{name: c, ports: [{containerPort: \"80\"}]}]}}}}",
        "{apiVersion: example.com/v1, kind: Service, spec: {ports: [{port: \"80\", protocol: tcp}]}}",
        "{apiVersion: example.com/v1, kind: Pod, spec: {clusterIp: x}}",
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, spec: {maxReplicas: 3}}",
        "{apiVersion: example.com/v1, kind: Workflow, startAt: x}",
    ] {
        let given: serde_json::Value = serde_yaml::from_str(manifest).unwrap();
        assert_eq!(to_kubernetes(given.clone()), given);
    }
}
