//! From manifests to nginx configurations: each `golden/<case>.yaml` holds one Service and its
//! EndpointSlices, `golden/<case>.conf` what comes of it. `UPDATE_EXPECT=1` rewrites the latter.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube_proxy::{
    backend::service::spec,
    nginx::{
        Configuration, Epoch, Telling,
        http::{Certificate, Http, Location, Path, Server},
    },
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

/// An `http` block is no Service's.
#[test]
fn hosts_and_paths_are_as_written_down() {
    let to = |path: Path, upstream: &str| Location {
        path,
        upstream: upstream.to_owned(),
        headers: BTreeMap::new(),
    };
    let marked = Location {
        headers: [("X-Price".to_owned(), "5 $ \"net\"; #".to_owned())].into(),
        ..to(Path::Prefix("/api/".to_owned()), "api")
    };
    let shop = Server {
        address: "10.96.0.20:80".parse().unwrap(),
        names: ["shop.example.com".to_owned(), "*.shop.example.com".to_owned()].into(),
        tls: None,
        locations: vec![
            to(Path::Prefix("/".to_owned()), "web"),
            marked,
            to(Path::Exact("/api".to_owned()), "nobody"),
        ],
    };
    let certificate = Certificate { chain: b"chain".to_vec(), key: b"key".to_vec() };
    let secure = Server {
        address: "10.96.0.20:443".parse().unwrap(),
        names: BTreeSet::new(),
        tls: Some(certificate),
        locations: vec![to(Path::Prefix("/docs".to_owned()), "web")],
    };
    let upstream = |addresses: &[&str]| addresses.iter().map(|a| a.parse().unwrap()).collect();
    let configuration = Configuration {
        title: "DNS default/site".to_owned(),
        connections: 8192,
        stream: String::new(),
        http: Http {
            upstreams: [
                ("api".to_owned(), upstream(&["10.244.0.2:8080"])),
                ("nobody".to_owned(), upstream(&[])),
                ("web".to_owned(), upstream(&["10.244.0.3:80", "10.244.1.3:80"])),
            ]
            .into(),
            servers: vec![shop, secure],
        },
        affinity: None,
    };
    let config = configuration.at(Epoch(0));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/http.conf");
    expect_test::expect_file![file].assert_eq(&config.text(Telling(1)));
    assert_eq!(config.files().len(), 2);
}

#[test]
fn another_certificate_is_another_configuration() {
    let generation = |key: &[u8]| {
        let server = Server {
            address: "10.96.0.20:443".parse().unwrap(),
            names: BTreeSet::new(),
            tls: Some(Certificate { chain: Vec::new(), key: key.to_vec() }),
            locations: Vec::new(),
        };
        let configuration = Configuration {
            title: String::new(),
            connections: 1,
            stream: String::new(),
            http: Http { upstreams: BTreeMap::new(), servers: vec![server] },
            affinity: None,
        };
        configuration.at(Epoch(0)).generation
    };
    assert_ne!(generation(b"a"), generation(b"b"));
}

#[test]
fn every_configuration_has_its_manifest() {
    let made = files().filter(|file| file.extension().is_some_and(|kind| kind == "conf"));
    for file in made.filter(|file| file.file_name().is_some_and(|name| name != "http.conf")) {
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
    let service_cidr = "10.96.0.0/16".parse().unwrap();
    let place = Place { nodes: ["here".into()].into(), service_cidr, cluster_dns: None };
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
