//! From manifests to nginx configurations: each `golden/<case>.yaml` holds one Service and its
//! EndpointSlices, `golden/<case>.conf` what comes of it. `UPDATE_EXPECT=1` rewrites the latter.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddrV4,
    path::PathBuf,
};

use api_machinery::host_routes::{Claim, Secret};
use api_types::{
    api::{core::v1::Service, discovery::v1::EndpointSlice, networking::v1::Ingress},
    minik8s::Dns,
};
use kube_proxy::{
    backend::{router, service::specs},
    instance::InstanceSpec,
    nginx::{
        Configuration, Epoch, Telling,
        http::{Certificate, Http, Location, Path, Seen, Server},
    },
    plan::{Place, backends, plan},
    router::{Means, RouterPlan, Target, plan_router},
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
        seen: Seen::Whole,
        secure: false,
        headers: BTreeMap::new(),
    };
    let marked = Location {
        headers: [("X-Price".to_owned(), "5 $ \"net\"; #".to_owned())].into(),
        ..to(Path::Prefix("/api/".to_owned()), "api")
    };
    let shop = Server {
        addresses: ["10.96.0.20:80".parse().unwrap()].into(),
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
        addresses: ["10.96.0.20:443".parse().unwrap()].into(),
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

/// What the hosts of DNS objects lead to.
#[test]
fn hosts_of_dns_objects_are_as_written_down() {
    let objects = Objects::read(&fs::read_to_string(hosts("seed.yaml")).unwrap());
    let specs = router::specs(&planned(&objects, &[]));
    assert_eq!(specs.len(), 1);
    let config = specs[0].configuration.at(Epoch(0));
    expect_test::expect_file![hosts("seed.conf")].assert_eq(&config.text(Telling(1)));
    // The router has no other nginx.
    let services = plan(&place(), &objects.services, &objects.slices);
    assert!(services.iter().all(|service| service.name != "dns-router"));
}

/// At the router's address beside those of DNS objects, and without these at the host's own.
#[test]
fn hosts_of_ingresses_are_as_written_down() {
    let objects = Objects::read(&fs::read_to_string(hosts("ingresses.yaml")).unwrap());
    let specs = router::specs(&planned(&objects, &["192.0.2.1", "192.0.2.2"]));
    let [all, at_host] = &specs[..] else { panic!("{} of them", specs.len()) };
    let config = all.configuration.at(Epoch(0));
    expect_test::expect_file![hosts("ingresses.conf")].assert_eq(&config.text(Telling(1)));
    assert_eq!(config.files().len(), 4, "two certificates and their keys");
    assert_eq!(all.addresses, [[10, 96, 0, 20].into()].into());
    let config = at_host.configuration.at(Epoch(0));
    expect_test::expect_file![hosts("ingresses.host.conf")].assert_eq(&config.text(Telling(1)));
    assert!(at_host.addresses.is_empty() && at_host.uid != all.uid);
}

/// Whoever comes and goes behind a virtual IP: an old nginx would have to keep the connections to all hosts.
#[test]
fn endpoints_of_a_service_with_a_virtual_ip_are_not_in_the_configuration() {
    let text = fs::read_to_string(hosts("seed.yaml")).unwrap();
    let config = |objects: &Objects| router::specs(&planned(objects, &[])).remove(0).configuration;
    let mut objects = Objects::read(&text);
    let before = config(&objects);
    let is_headless = |slice: &EndpointSlice| slice.metadata.name.as_deref() == Some("db-1");
    objects.slices.retain(is_headless);
    assert_eq!(config(&objects), before);
}

fn hosts(file: &str) -> String {
    format!("{}/tests/golden/hosts/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// With a certificate in the Secret `shop-tls` alone.
fn planned(objects: &Objects, host_addresses: &[&str]) -> RouterPlan {
    let certificate = |name: &str| Certificate {
        chain: format!("chain of {name}").into_bytes(),
        key: format!("key of {name}").into_bytes(),
    };
    let of_secret = |secret: Secret<'_>| {
        let is_there = secret == Secret { namespace: "default", name: "shop-tls" };
        is_there.then(|| certificate(secret.name))
    };
    let place = place();
    let means = Means {
        place: &place,
        host_addresses: host_addresses.iter().map(|it| it.parse().unwrap()).collect(),
        backends: &|to| objects.backends(to),
        certificate: &of_secret,
        self_made: &certificate("nobody"),
    };
    let claims = objects.dnses.iter().map(Claim::of_dns);
    let claims = claims.chain(objects.ingresses.iter().map(Claim::of_ingress));
    plan_router(&means, objects.service("kube-system", "dns-router").unwrap(), claims).unwrap()
}

#[test]
fn another_certificate_is_another_configuration() {
    let generation = |key: &[u8]| {
        let server = Server {
            addresses: ["10.96.0.20:443".parse().unwrap()].into(),
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

/// The objects of a manifest.
#[derive(Default)]
struct Objects {
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    dnses: Vec<Dns>,
    ingresses: Vec<Ingress>,
}

impl Objects {
    fn read(manifest: &str) -> Self {
        let mut objects = Objects::default();
        for document in Deserializer::from_str(manifest) {
            let object = Value::deserialize(document).unwrap();
            match object["kind"].as_str() {
                Some("Service") => objects.services.push(serde_yaml::from_value(object).unwrap()),
                Some("EndpointSlice") => {
                    objects.slices.push(serde_yaml::from_value(object).unwrap())
                }
                Some("DNS") => objects.dnses.push(serde_yaml::from_value(object).unwrap()),
                Some("Ingress") => objects.ingresses.push(serde_yaml::from_value(object).unwrap()),
                other => panic!("unexpected kind {other:?}"),
            }
        }
        objects
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        let is_meant = |service: &&Service| {
            let metadata = &service.metadata;
            metadata.namespace.as_deref() == Some(namespace)
                && metadata.name.as_deref() == Some(name)
        };
        self.services.iter().find(is_meant)
    }

    fn backends(&self, to: &Target) -> Option<BTreeSet<SocketAddrV4>> {
        let service = self.service(&to.namespace, &to.service)?;
        let is_its = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref().unwrap();
            labels["kubernetes.io/service-name"] == to.service
        };
        backends(&place(), service, self.slices.iter().filter(is_its), &to.port)
    }
}

fn place() -> Place {
    let service_cidr = "10.96.0.0/16".parse().unwrap();
    let addresses = ["127.0.0.1", "192.0.2.7", "203.0.113.9"].map(|ip| ip.parse().unwrap()).into();
    Place {
        nodes: ["here".into()].into(),
        service_cidr,
        cluster_dns: None,
        zone: None,
        node_addresses: ["127.0.0.1", "192.0.2.7"].map(|ip| ip.parse().unwrap()).into(),
        addresses,
    }
}

/// Those of all its nginxes, one behind the other.
fn configuration(manifest: &str) -> String {
    let Objects { services, slices, .. } = Objects::read(manifest);
    let plans = plan(&place(), &services, &slices);
    assert_eq!(plans.len(), 1, "one Service a manifest");
    let text = |spec: InstanceSpec| spec.configuration.at(Epoch(0)).text(Telling(1));
    specs(&plans[0]).into_iter().map(text).collect()
}
