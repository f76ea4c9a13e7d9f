//! From manifests to nginx configurations: each `golden/<case>.yaml` holds one Service and its
//! EndpointSlices, `golden/<case>.conf` what comes of it. `UPDATE_EXPECT=1` rewrites the latter.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod manifest;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::PathBuf,
    slice,
};

use api_machinery::host_routes::{Claim, Secret};
use api_types::{
    api::{core::v1::Service, discovery::v1::EndpointSlice, networking::v1::Ingress},
    minik8s::Dns,
};
use kube_proxy::{
    backend::{router, service::specs, shared::all_specs},
    instance::InstanceSpec,
    nginx::{
        Configuration, Epoch, Telling,
        http::{Certificate, Http, Location, Path, Seen, Server},
        listened,
    },
    plan::{Place, ServicePlan, backends, plan},
    router::{Means, RouterPlan, Target, plan_router},
};
use manifest::{Manifest, is_named};

#[test]
fn configurations_are_as_written_down() {
    let cases = manifests();
    assert!(!cases.is_empty(), "no manifests in tests/golden");
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        expect_test::expect_file![case.with_extension("conf")].assert_eq(&configuration(&text));
    }
}

/// Those that have one together, and who has one alone. Together they listen where they would alone.
#[test]
fn the_configuration_for_all_services_is_as_written_down() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/shared");
    let manifest = fs::read_to_string(format!("{folder}/services.yaml")).unwrap();
    let Objects { services, slices, .. } = Objects::read(&manifest);
    let plans = plan(&place(), &services, &slices);
    let sockets = |specs: &[InstanceSpec]| {
        let texts = specs.iter().map(|spec| listened(&spec.configuration.stream));
        texts.flatten().collect::<BTreeSet<_>>()
    };
    let alone = sockets(&plans.iter().flat_map(specs).collect::<Vec<_>>());
    let (together, left_out) = all_specs(&plans, &alone);
    assert_eq!((sockets(&together), left_out), (alone, BTreeMap::new()));
    let uids: Vec<_> = together.iter().map(|spec| spec.uid.as_str()).collect();
    assert_eq!(uids, ["all-services", "u3"]);
    let config = together[0].configuration.at(Epoch(0));
    let file = format!("{folder}/services.conf");
    expect_test::expect_file![file].assert_eq(&config.text(Telling(1)));
    assert_eq!(config.draining_workers, 31);
}

#[test]
fn what_can_not_be_listened_at_is_left_out_and_told_of() {
    let manifest = include_str!("golden/shared/services.yaml");
    let Objects { services, slices, .. } = Objects::read(manifest);
    let plans = plan(&place(), &services, &slices);
    let all: BTreeSet<_> =
        plans.iter().flat_map(specs).flat_map(|it| listened(&it.configuration.stream)).collect();
    let without = |socket: &str| {
        let mut rest = all.clone();
        rest.retain(|(_, it)| it.to_string() != socket);
        let (specs, left_out) = all_specs(&plans, &rest);
        (specs[0].configuration.stream.clone(), left_out)
    };
    let (stream, left_out) = without("192.0.2.7:30080");
    let why = "tcp 192.0.2.7:30080".to_owned();
    assert_eq!(left_out, [("default/web".to_owned(), why)].into());
    assert!(stream.contains("listen 127.0.0.1:30080 ") && !stream.contains("192.0.2.7:30080"));
    // Nothing is left of a port that is listened for nowhere.
    let (stream, _) = without("10.96.0.13:7000");
    assert!(
        stream.contains("10.96.0.13:80 10.244.0.3:8080;") && !stream.contains("10.244.0.3:7000")
    );
}

#[test]
fn what_comes_by_an_address_of_one_family_is_led_to_endpoints_of_it() {
    let Objects { services, slices, .. } = Objects::read(include_str!("golden/stacks/two.yaml"));
    let plans = plan(&place(), &services, &slices);
    let streams: Vec<_> =
        specs(&plans[0]).into_iter().map(|spec| spec.configuration.stream).collect();
    let upstream = |name: &str, endpoints: [&str; 2]| {
        let servers = endpoints.map(|it| format!("        server {it} max_fails=0;\n")).concat();
        format!("upstream {name} {{\n{servers}    }}\n")
    };
    let [v4, v6] = [["10.244.0.2", "10.244.1.2"], ["[fd00:10:244::2]", "[fd00:10:244:1::2]"]];
    let at = |addresses: [&str; 2], port: u16| addresses.map(|it| format!("{it}:{port}"));
    for (name, endpoints) in [
        ("tcp-80", at(v4, 8080)),
        ("tcp-80-v6", at(v6, 8080)),
        ("udp-53", at(v4, 5353)),
        ("udp-53-v6", at(v6, 5353)),
    ] {
        let upstream = upstream(name, endpoints.each_ref().map(String::as_str));
        assert!(streams.iter().all(|stream| stream.contains(&upstream)), "{upstream}");
    }
    // Of a server, where it listens and where that leads.
    let servers = |stream: &str| {
        let servers = stream.split("    server {\n").skip(1);
        let words = |server: &str, word: &str| {
            let lines = server.lines().filter_map(|line| line.trim().strip_prefix(word));
            lines
                .map(|line| line.trim_end_matches(';').split(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let shown = |it: &str| format!("{} to {}", words(it, "listen "), words(it, "proxy_pass "));
        servers.map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        servers(&streams[0]),
        [
            "10.96.0.10:53 to udp-53",
            "[fd00:10:96::a]:53 to udp-53-v6",
            "10.96.0.10:80 to tcp-80",
            "[fd00:10:96::a]:80 to tcp-80-v6",
        ]
    );
    assert_eq!(
        servers(&streams[1]),
        [
            "127.0.0.1:30053 192.0.2.7:30053 to udp-53",
            "[2001:db8::7]:30053 [2001:db8:9::9]:53 to udp-53-v6",
            "127.0.0.1:30080 192.0.2.7:30080 to tcp-80",
            "[2001:db8::7]:30080 [2001:db8:9::9]:80 to tcp-80-v6",
        ]
    );
    // And by one nginx for all, in which the addresses of variables have no brackets.
    let alone = streams.iter().flat_map(|stream| listened(stream)).collect();
    let (together, left_out) = all_specs(&plans, &alone);
    assert_eq!((together.len(), left_out), (1, BTreeMap::new()));
    let stream = &together[0].configuration.stream;
    assert_eq!(listened(stream), alone);
    for socket in ["fd00:10:96::a:80", "2001:db8::7:30080", "10.96.0.10:80"] {
        assert!(stream.contains(&format!("\n        {socket} ")), "{socket}: {stream}");
    }
}

/// Who asks is seen, but for a pod that is an endpoint itself.
#[test]
fn pods_of_this_host_are_spoken_for_by_their_own_addresses() {
    let manifest = include_str!("golden/one-port.yaml");
    let Objects { services, slices, .. } = Objects::read(manifest);
    let stream = |kept: &[&str]| {
        let mut plan = plan(&place(), &services, &slices).remove(0);
        plan.kept = kept.iter().map(|network| network.parse().unwrap()).collect();
        specs(&plan).remove(0).configuration.stream
    };
    let clients = concat!(
        "    geo $kept_u1 {\n        default \"\";\n        10.244.0.0/24 1;\n        10.244.0.2/32 \"\";\n    }\n",
        "    map $kept_u1 $client_u1 {\n        default \"\";\n        1 $remote_addr;\n    }\n",
    );
    let kept = stream(&["10.244.0.0/24"]);
    assert!(kept.starts_with(clients), "{kept}");
    let bind = "        proxy_bind $client_u1 transparent;\n";
    assert_eq!(kept.matches(bind).count(), 1);
    // That is all.
    let rest = kept.replace(clients, "").replace(bind, "");
    assert_eq!(rest, stream(&[]));
}

#[test]
fn pods_of_two_stacks_are_spoken_for_by_their_addresses_of_each() {
    let Objects { services, slices, .. } = Objects::read(include_str!("golden/stacks/two.yaml"));
    let mut plan = plan(&place(), &services, &slices).remove(0);
    plan.kept = ["10.244.0.0/24", "fd00:10:244::/64"].map(|it| it.parse().unwrap()).into();
    let stream = specs(&plan).remove(0).configuration.stream;
    let geo = concat!(
        "    geo $kept_u1 {\n        default \"\";\n        10.244.0.0/24 1;\n        fd00:10:244::/64 1;\n",
        "        10.244.0.2/32 \"\";\n        fd00:10:244::2/128 \"\";\n    }\n",
    );
    assert!(stream.starts_with(geo), "{stream}");
    // Two ports, at two addresses each.
    assert_eq!(stream.matches("proxy_bind $client_u1 transparent;").count(), 4);
}

/// The nginx of all has no more variables for many Services than for one.
#[test]
fn one_nginx_speaks_for_pods_to_all_services_alike() {
    let Objects { services, slices, .. } = Objects::read(include_str!("golden/stacks/two.yaml"));
    let mut plan = plan(&place(), &services, &slices).remove(0);
    let texts = specs(&plan).into_iter().map(|spec| spec.configuration.stream);
    let all: BTreeSet<_> = texts.flat_map(|text| listened(&text)).collect();
    let stream = |plan: &ServicePlan| {
        all_specs(slice::from_ref(plan), &all).0.remove(0).configuration.stream
    };
    let before = stream(&plan);
    plan.kept = ["10.244.0.0/24", "fd00:10:244::/64"].map(|it| it.parse().unwrap()).into();
    let kept = stream(&plan);
    let client = concat!(
        "    geo $kept {\n        default 0;\n        10.244.0.0/24 1;\n        fd00:10:244::/64 1;\n    }\n",
        "    map \"$protocol $remote_addr $server_addr:$server_port\" $own {\n        default 0;\n",
    );
    assert!(kept.contains(client), "{kept}");
    assert!(kept.contains(
        "    map $kept$own $client {\n        default \"\";\n        10 $remote_addr;\n"
    ));
    for own in ["tcp 10.244.0.2 10.96.0.10:80", "udp fd00:10:244::2 2001:db8::7:30053"] {
        assert!(kept.contains(&format!("        \"{own}\" 1;\n")), "{own}: {kept}");
    }
    assert!(!kept.contains("tcp 10.244.0.2 fd00") && !kept.contains("tcp 10.244.1.2 "));
    let servers = |text: &str| text.matches("    server {\n").count();
    assert_eq!(servers(&kept), servers(&before));
    assert_eq!(kept.matches("proxy_bind $client transparent;").count(), servers(&kept));
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
            ..Http::default()
        },
        affinity: None,
        draining_connections: 262_144,
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
    let held = ["10.96.0.20", "fd00:10:96::14"].map(|ip| ip.parse().unwrap());
    assert_eq!(specs[0].addresses, held.into());
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
            http: Http { servers: vec![server], ..Http::default() },
            affinity: None,
            draining_connections: 262_144,
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
struct Objects {
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    dnses: Vec<Dns>,
    ingresses: Vec<Ingress>,
}

impl Objects {
    fn read(manifest: &str) -> Self {
        let mut all = Manifest::read(manifest);
        let objects = Objects {
            services: all.take("Service"),
            slices: all.take("EndpointSlice"),
            dnses: all.take("DNS"),
            ingresses: all.take("Ingress"),
        };
        all.end();
        objects
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        let is_meant = |service: &&Service| is_named(&service.metadata, namespace, name);
        self.services.iter().find(is_meant)
    }

    fn backends(&self, to: &Target) -> Option<BTreeSet<SocketAddr>> {
        let service = self.service(&to.namespace, &to.service)?;
        let is_its = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref().unwrap();
            labels["kubernetes.io/service-name"] == to.service
        };
        backends(&place(), service, self.slices.iter().filter(is_its), &to.port)
    }
}

fn place() -> Place {
    let service_cidr = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
    let addresses = ["127.0.0.1", "192.0.2.7", "203.0.113.9", "2001:db8::7", "2001:db8:9::9"];
    let addresses = addresses.map(|ip| ip.parse().unwrap()).into();
    let node_addresses = ["127.0.0.1", "192.0.2.7", "2001:db8::7"];
    Place {
        nodes: ["here".into()].into(),
        service_cidr,
        cluster_dns: None,
        zone: None,
        node_addresses: node_addresses.map(|ip| ip.parse().unwrap()).into(),
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
