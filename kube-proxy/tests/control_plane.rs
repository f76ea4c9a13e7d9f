//! The loop, fed by a real API server in process, acting on a node that is only remembered.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;

use std::{collections::BTreeSet, fs, net::IpAddr, path::PathBuf, sync::Arc};

use api_types::{
    api::{
        core::v1::{Event, Node, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
    minik8s::Dns,
};
use component::{Health, Metrics, Tasks, events::Recorder};
use fake::Fake;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use kube_proxy::{
    Metrics as ProxyMetrics, Wake,
    announced::Announced,
    backend::{Nginx, service::OUTSIDE},
    configs::Configs,
    reconciler::Reconciler,
    sync::{self, Outlets},
    world::{self, Here, World},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};
use tokio::task::AbortHandle;

/// A control plane and a kube-proxy that hears from it.
struct Cluster {
    plane: ControlPlane,
    node: Fake,
    state: tempfile::TempDir,
    health: Health,
    announced: Arc<Announced>,
    wake: Arc<Wake>,
    proxy: AbortHandle,
}

impl Cluster {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let (node, state) = (Fake::default(), tempfile::tempdir().unwrap());
        let (health, proxy) = (Health::default(), tokio::spawn(async {}).abort_handle());
        let (announced, wake) = Default::default();
        let mut cluster = Cluster { plane, node, state, health, announced, wake, proxy };
        cluster.restart_proxy();
        cluster
    }

    /// Ends kube-proxy wherever it is, and begins another one.
    fn restart_proxy(&mut self) {
        self.proxy.abort();
        let configs = Configs::open(self.state.path()).unwrap();
        let mut backend = Nginx(Reconciler::new(self.node.clone(), self.node.clone(), configs));
        let outlets = Outlets {
            check: self.health.check("services"),
            metrics: ProxyMetrics::register(&Metrics::default()),
            recorder: Recorder::new(&Tasks::default(), self.plane.client(), "kube-proxy", "here"),
        };
        let service_cidr = "10.96.0.0/16".parse().unwrap();
        let node = "here".into();
        let here = Here {
            node,
            service_cidr,
            cluster_dns: None,
            node_addresses: Vec::new(),
            leads_by_rules: false,
        };
        let listwatch = self.plane.listwatch_as("kube-proxy");
        let (announced, wake) = (self.announced.clone(), self.wake.clone());
        let proxy = tokio::spawn(async move {
            let (nodes, nodes_watch) = world::follow(&listwatch, vec![wake.clone()]);
            let (world, watches) = World::watch(&listwatch, nodes, &wake, None);
            let world = world.with_announced(announced);
            let passes = sync::run(&world, &here, &mut backend, &wake, &outlets);
            tokio::join!(watches, nodes_watch, passes)
        });
        self.proxy = proxy.abort_handle();
    }

    fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.plane.client())
    }

    fn slices(&self) -> Api<EndpointSlice> {
        Api::default_namespaced(self.plane.client())
    }

    /// Creates the Service `web`; gives its uid.
    async fn create_web(&self) -> String {
        let spec = json!({"clusterIP": "10.96.0.77", "ports": [{"port": 80}]});
        let service: Service = object("v1", "Service", &json!({"name": "web"}), "spec", spec);
        let created = self.services().create(&PostParams::default(), &service).await.unwrap();
        created.metadata.uid.unwrap()
    }

    /// Waits until the node has done `what`.
    async fn until_done(&self, what: &str) {
        let look = async || match self.node.with(|node| node.log.clone()) {
            log if log.iter().any(|done| done == what) => Ok(()),
            log => Err(log),
        };
        wait::until(what, look).await;
    }

    async fn until_ready(&self, ready: bool) {
        let look = async || match self.health.is_ready() == ready {
            true => Ok(()),
            false => Err(()),
        };
        wait::until(&format!("ready: {ready}"), look).await;
    }

    /// Waits until the configuration of a Service contains `text`, if that is so, or not.
    async fn until_configured(&self, uid: &str, text: &str, contained: bool) {
        let file: PathBuf = self.state.path().join(uid).join("nginx.conf");
        let look = async || match fs::read_to_string(&file).unwrap_or_default() {
            config if config.contains(text) == contained => Ok(()),
            config => Err(config),
        };
        wait::until(&format!("{text} is in the configuration: {contained}"), look).await;
    }

    /// What tells the certificates apart that a configuration names.
    fn certificates(&self, uid: &str) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(self.state.path().join(uid)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|it| it == "pem")).collect()
    }

    /// Waits until they are others; gives them.
    async fn until_certificates_differ(
        &self,
        uid: &str,
        before: &BTreeSet<PathBuf>,
    ) -> BTreeSet<PathBuf> {
        let look = async || match self.certificates(uid) {
            now if now == *before => Err(now),
            now => Ok(now),
        };
        wait::until("there are other certificates", look).await
    }
}

fn object<K: serde::de::DeserializeOwned>(
    api_version: &str,
    kind: &str,
    metadata: &Value,
    field: &str,
    value: Value,
) -> K {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    object[field] = value;
    serde_json::from_value(object).unwrap()
}

/// A slice of the Service `web`.
fn slice(addresses: &[&str]) -> EndpointSlice {
    let metadata = json!({"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}});
    let endpoints = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    let (version, kind) = ("discovery.k8s.io/v1", "EndpointSlice");
    let mut slice: EndpointSlice = object(version, kind, &metadata, "endpoints", endpoints);
    slice.address_type = "IPv4".into();
    slice.ports = serde_json::from_value(json!([{"port": 8080}])).unwrap();
    slice
}

#[tokio::test]
async fn a_service_is_followed_from_its_creation_to_its_deletion() {
    let cluster = Cluster::start().await;
    let uid = cluster.create_web().await;
    cluster.until_done("create default/web").await;

    let slices = cluster.slices();
    slices.create(&PostParams::default(), &slice(&["10.244.0.2"])).await.unwrap();
    cluster.until_configured(&uid, "10.244.0.2:8080", true).await;
    cluster.until_done(&format!("reload id-{uid}")).await;

    let not_ready = json!({"endpoints": [
        {"addresses": ["10.244.0.2"], "conditions": {"ready": false}},
        {"addresses": ["10.244.0.3"]},
    ]});
    let patch = Patch::Merge(&not_ready);
    slices.patch("web-1", &PatchParams::default(), &patch).await.unwrap();
    cluster.until_configured(&uid, "10.244.0.2:8080", false).await;
    cluster.until_configured(&uid, "10.244.0.3:8080", true).await;

    cluster.services().delete("web", &Default::default()).await.unwrap();
    cluster.until_done(&format!("remove id-{uid}")).await;
    cluster.until_done("release 10.96.0.77").await;
    cluster.until_ready(true).await;
}

#[tokio::test]
async fn an_outage_of_the_api_server_changes_nothing_and_is_caught_up_with() {
    let mut cluster = Cluster::start().await;
    let uid = cluster.create_web().await;
    cluster.until_done("create default/web").await;
    cluster.until_ready(true).await;

    // A kube-proxy that begins during the outage has nothing to go by, so it touches nothing.
    cluster.plane.stop_server().await;
    cluster.restart_proxy();
    cluster.until_ready(false).await;
    cluster.node.log();

    cluster.plane.start_server().await;
    cluster.slices().create(&PostParams::default(), &slice(&["10.244.0.2"])).await.unwrap();
    cluster.until_done(&format!("reload id-{uid}")).await;
    cluster.until_configured(&uid, "10.244.0.2:8080", true).await;
    cluster.until_ready(true).await;
    let log = cluster.node.log();
    assert!(log.iter().all(|done| done.starts_with("reload")), "{log:?}");
}

#[tokio::test]
async fn what_ran_before_is_resumed_without_an_api_server_as_soon_as_docker_can() {
    let mut cluster = Cluster::start().await;
    let uid = cluster.create_web().await;
    cluster.until_done("create default/web").await;
    let id = format!("id-{uid}");
    cluster.plane.stop_server().await;
    cluster.node.with(|node| {
        node.containers.get_mut(&id).unwrap().running = false;
        (node.away, node.looks) = (true, 0);
        node.unstartable.insert(id.clone());
    });
    cluster.node.log();
    cluster.restart_proxy();
    let looked = async || cluster.node.with(|node| if node.looks > 0 { Ok(()) } else { Err(()) });
    wait::until("Docker is asked", looked).await;
    cluster.node.with(|node| (node.away, node.looks) = (false, 0));
    wait::until("Docker is asked again", looked).await;
    cluster.node.with(|node| node.unstartable.clear());
    cluster.until_done(&format!("start {id}")).await;

    cluster.plane.start_server().await;
    cluster.until_ready(true).await;
    let log = cluster.node.log();
    let unexpected = |done: &&String| done.starts_with("create") || done.starts_with("remove");
    assert_eq!(log.iter().find(unexpected), None, "{log:?}");
}

#[tokio::test]
async fn a_service_whose_configuration_is_not_taken_has_an_event_and_is_not_ready() {
    let cluster = Cluster::start().await;
    let uid = cluster.create_web().await;
    cluster.until_ready(true).await;
    cluster.node.with(|node| node.stubborn.insert(uid.clone()));
    cluster.slices().create(&PostParams::default(), &slice(&["10.244.0.2"])).await.unwrap();
    cluster.until_ready(false).await;
    let events: Api<Event> = Api::default_namespaced(cluster.plane.client());
    let look = async || {
        let events = events.list(&Default::default()).await.unwrap().items;
        let of_web = |event: &&Event| event.involved_object.uid.as_ref() == Some(&uid);
        match events.iter().find(of_web) {
            Some(event) => Ok((event.reason.clone(), event.message.clone())),
            None => Err(events),
        }
    };
    let (reason, message) = wait::until("an event about the Service", look).await;
    assert_eq!(reason.as_deref(), Some("FailedToSyncProxy"));
    assert_eq!(
        message.as_deref(),
        Some("its nginx does not take its configuration: bind() failed")
    );
    cluster.node.with(|node| node.stubborn.clear());
    cluster.until_ready(true).await;
}

#[tokio::test]
async fn a_local_policy_counts_all_nodes_of_this_host() {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.plane.client());
    // The address of the fake host, and another one.
    for (name, address) in [("neighbour", "198.51.100.1"), ("stranger", "198.51.100.2")] {
        let node = json!({"metadata": {"name": name}});
        let node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let addresses = json!([{"type": "InternalIP", "address": address}]);
        let status = Patch::Merge(json!({"status": {"addresses": addresses}}));
        nodes.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    }
    let uid = cluster.create_web().await;
    let policy = Patch::Merge(json!({"spec": {"internalTrafficPolicy": "Local"}}));
    cluster.services().patch("web", &PatchParams::default(), &policy).await.unwrap();
    let mut slice = slice(&["10.244.0.2", "10.244.0.3"]);
    for (endpoint, node) in slice.endpoints.iter_mut().flatten().zip(["neighbour", "stranger"]) {
        endpoint.node_name = Some(node.to_owned());
    }
    cluster.slices().create(&PostParams::default(), &slice).await.unwrap();
    cluster.until_configured(&uid, "10.244.0.2:8080", true).await;
    cluster.until_configured(&uid, "10.244.0.3:8080", false).await;
}

/// The Service that the controller makes for DNS objects; gives its uid.
async fn make_router(cluster: &Cluster) -> String {
    let services = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let spec = json!({"clusterIP": "10.96.0.80", "ports": [{"port": 80}]});
    let labels = json!({"app.kubernetes.io/managed-by": "minik8s"});
    let metadata = json!({"name": "dns-router", "labels": labels});
    let router = object("v1", "Service", &metadata, "spec", spec);
    services.create(&PostParams::default(), &router).await.unwrap().metadata.uid.unwrap()
}

#[tokio::test]
async fn the_hosts_of_dns_objects_are_followed_with_the_services_of_their_paths() {
    let mut cluster = Cluster::start().await;
    let uid = make_router(&cluster).await;
    let dnses: Api<Dns> = Api::default_namespaced(cluster.plane.client());
    let paths = json!([{"path": "/web", "service": {"name": "web"}}]);
    let spec = json!({"host": "shop.test", "paths": paths});
    let shop = object("minik8s.io/v1", "DNS", &json!({"name": "shop"}), "spec", spec);
    dnses.create(&PostParams::default(), &shop).await.unwrap();
    cluster.until_done("create kube-system/dns-router").await;
    cluster.until_configured(&uid, "server_name \"shop.test\"", true).await;
    cluster.until_configured(&uid, "location \"/web/\" { return 503; }", true).await;

    // Of a Service that comes later. Of its endpoints it knows nothing.
    let web = cluster.create_web().await;
    let ip = cluster.services().get("web").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    cluster.until_configured(&uid, &format!("server {ip}:80 "), true).await;
    cluster.until_ready(true).await;
    cluster.node.log();
    cluster.slices().create(&PostParams::default(), &slice(&["10.244.0.2"])).await.unwrap();
    cluster.until_configured(&web, "10.244.0.2:8080", true).await;
    cluster.until_ready(true).await;
    let done = cluster.node.log();
    assert!(!done.iter().any(|it| it.contains(&uid)), "{done:?}");
    let spec = json!({"host": "store.test", "paths": paths});
    let store = object("minik8s.io/v1", "DNS", &json!({"name": "store"}), "spec", spec);
    dnses.create(&PostParams::default(), &store).await.unwrap();
    dnses.delete("shop", &Default::default()).await.unwrap();
    cluster.until_configured(&uid, "server_name \"store.test\"", true).await;
    cluster.until_configured(&uid, "server_name \"shop.test\"", false).await;
    cluster.until_ready(true).await;

    // Another kube-proxy finds it as it is.
    cluster.node.log();
    cluster.restart_proxy();
    cluster.until_ready(true).await;
    dnses.delete("store", &Default::default()).await.unwrap();
    cluster.until_done(&format!("remove id-{uid}")).await;
    cluster.until_done("release 10.96.0.80").await;
}

#[tokio::test]
async fn ingresses_of_the_routers_class_are_followed_with_their_certificates() {
    let cluster = Cluster::start().await;
    let uid = make_router(&cluster).await;
    let client = cluster.plane.client();
    let class = json!({"controller": "example.com/other"});
    let named = json!({"name": "other"});
    let class = object("networking.k8s.io/v1", "IngressClass", &named, "spec", class);
    let classes: Api<IngressClass> = Api::all(client.clone());
    classes.create(&PostParams::default(), &class).await.unwrap();
    let ingresses: Api<Ingress> = Api::default_namespaced(client.clone());
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    for (name, class) in [("theirs", "other"), ("ours", "minik8s")] {
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        let host = format!("{name}.test");
        let spec = json!({
            "ingressClassName": class,
            "rules": [{"host": host, "http": {"paths": paths}}],
            "tls": [{"hosts": [host], "secretName": "tls"}],
        });
        let ingress =
            object("networking.k8s.io/v1", "Ingress", &json!({"name": name}), "spec", spec);
        ingresses.create(&PostParams::default(), &ingress).await.unwrap();
    }
    cluster.until_configured(&uid, "server_name \"ours.test\"", true).await;
    cluster.until_configured(&uid, "theirs.test", false).await;

    // The certificate comes, and is another one later.
    let secrets: Api<Secret> = Api::default_namespaced(client);
    let secret = || {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["ours.test".to_owned()]).unwrap();
        let chain = certificate.self_signed(&key).unwrap().pem();
        let data = json!({"tls.crt": chain, "tls.key": key.serialize_pem()});
        json!({"type": "kubernetes.io/tls", "stringData": data})
    };
    let mut made = secret();
    (made["metadata"], made["apiVersion"], made["kind"]) =
        (json!({"name": "tls"}), json!("v1"), json!("Secret"));
    let before = cluster.certificates(&uid);
    secrets.create(&PostParams::default(), &serde_json::from_value(made).unwrap()).await.unwrap();
    let first = cluster.until_certificates_differ(&uid, &before).await;
    secrets.patch("tls", &PatchParams::default(), &Patch::Merge(secret())).await.unwrap();
    cluster.until_certificates_differ(&uid, &first).await;
    cluster.until_ready(true).await;
    ingresses.delete("ours", &Default::default()).await.unwrap();
    cluster.until_done(&format!("remove id-{uid}")).await;
}

/// Somebody's Service is served as any other, whatever it is called.
#[tokio::test]
async fn a_service_that_has_but_the_name_of_the_router_is_a_service() {
    let cluster = Cluster::start().await;
    let services = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let spec = json!({"clusterIP": "10.96.0.80", "ports": [{"port": 80}]});
    let other = object("v1", "Service", &json!({"name": "dns-router"}), "spec", spec);
    let made = services.create(&PostParams::default(), &other).await.unwrap();
    cluster.until_done("create kube-system/dns-router").await;
    cluster.until_configured(&made.metadata.uid.unwrap(), "http {", false).await;
}

#[tokio::test]
async fn a_load_balancers_address_is_served_while_it_is_announced_from_here() {
    let cluster = Cluster::start().await;
    let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
    let web: Service = object("v1", "Service", &json!({"name": "web"}), "spec", spec);
    let created = cluster.services().create(&PostParams::default(), &web).await.unwrap();
    let outside = created.metadata.uid.unwrap() + OUTSIDE;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.64"}]}}});
    let params = PatchParams::default();
    cluster.services().patch_status("web", &params, &Patch::Merge(&status)).await.unwrap();
    cluster.slices().create(&PostParams::default(), &slice(&["10.244.0.2"])).await.unwrap();
    cluster.until_done("create default/web").await;

    let address = IpAddr::from([192, 0, 2, 64]);
    for (held, is_served) in [([address].into(), true), ([].into(), false)] {
        cluster.announced.set([address], held);
        cluster.wake.changed();
        cluster.until_configured(&outside, "listen 192.0.2.64:80", is_served).await;
    }
}
