//! From manifests to nginx configurations: each `golden/<case>.yaml` holds one Service and its
//! EndpointSlices, `golden/<case>.conf` what comes of it. `UPDATE_EXPECT=1` rewrites the latter.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{fs, path::PathBuf};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube_proxy::{
    backend::service::spec,
    nginx::{Epoch, Telling},
    plan::{Place, plan},
};
use serde::Deserialize;
use serde_yaml::{Deserializer, Value};

#[test]
fn configurations_are_as_written_down() {
    let cases = manifests();
    assert!(!cases.is_empty(), "no manifests in tests/golden");
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        expect_test::expect_file![case.with_extension("conf")].assert_eq(&configuration(&text));
    }
}

#[test]
fn every_configuration_has_its_manifest() {
    for file in files().filter(|file| file.extension().is_some_and(|kind| kind == "conf")) {
        assert!(file.with_extension("yaml").exists(), "{} is left over", file.display());
    }
}

fn files() -> impl Iterator<Item = PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn manifests() -> Vec<PathBuf> {
    files().filter(|file| file.extension().is_some_and(|kind| kind == "yaml")).collect()
}

fn configuration(manifest: &str) -> String {
    let place =
        Place { nodes: ["here".into()].into(), service_cidr: "10.96.0.0/16".parse().unwrap() };
    let (mut services, mut slices) = (Vec::<Service>::new(), Vec::<EndpointSlice>::new());
    for document in Deserializer::from_str(manifest) {
        let object = Value::deserialize(document).unwrap();
        match object["kind"].as_str() {
            Some("Service") => services.push(serde_yaml::from_value(object).unwrap()),
            Some("EndpointSlice") => slices.push(serde_yaml::from_value(object).unwrap()),
            other => panic!("unexpected kind {other:?}"),
        }
    }
    let plans = plan(&place, &services, &slices);
    assert_eq!(plans.len(), 1, "one Service a manifest");
    spec(&plans[0]).configuration.at(Epoch(0)).text(Telling(1))
}
