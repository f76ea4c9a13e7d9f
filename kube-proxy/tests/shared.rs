//! One nginx for all Services, step by step, against a node that is only remembered.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use fake::{Fake, Node};
use kube_proxy::{
    backend::{
        Backend, Nginx, SharedNginx,
        shared::{Sockets, UID},
    },
    check::nginxes,
    configs::Configs,
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
    reconciler::{Reconciler, Summary},
};
use tempfile::TempDir;

/// Where servers of the host listen, whoever asks.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<BTreeSet<SocketAddr>>>);

impl Sockets for Taken {
    fn try_bind(&self, _: Protocol, socket: SocketAddr) -> io::Result<()> {
        match self.0.lock().unwrap().contains(&socket) {
            true => Err(io::ErrorKind::AddrInUse.into()),
            false => Ok(()),
        }
    }
}

impl Taken {
    fn set(&self, sockets: &[&str]) {
        *self.0.lock().unwrap() = sockets.iter().map(|it| it.parse().unwrap()).collect();
    }
}

struct Rig {
    node: Fake,
    taken: Taken,
    state: TempDir,
    proxy: Box<dyn Backend>,
}

impl Rig {
    fn new() -> Self {
        let (node, taken, state) =
            (Fake::default(), Taken::default(), tempfile::tempdir().unwrap());
        let proxy = shared(&node, &taken, state.path());
        Rig { node, taken, state, proxy }
    }

    /// kube-proxy ends and another one begins.
    fn restart(&mut self) {
        self.proxy = shared(&self.node, &self.taken, self.state.path());
    }

    /// One that gives each Service an nginx.
    fn restart_per_service(&mut self) {
        let configs = Configs::open(self.state.path()).unwrap();
        self.proxy =
            Box::new(Nginx(Reconciler::new(self.node.clone(), self.node.clone(), configs)));
    }

    async fn pass(&mut self, plans: &[ServicePlan]) -> Summary {
        self.proxy.want_all(plans.to_vec());
        self.proxy.pass().await.unwrap()
    }

    /// Passes until nothing is under way; what is wrong then.
    async fn settle(&mut self, plans: &[ServicePlan]) -> Vec<String> {
        let mut summary = self.pass(plans).await;
        while summary.pending > 0 {
            tokio::time::advance(Duration::from_millis(100)).await;
            summary = self.proxy.pass().await.unwrap();
        }
        let failed = summary.failed.iter();
        failed.map(|failure| format!("{}: {}", failure.subject, failure.error)).collect()
    }

    async fn settle_well(&mut self, plans: &[ServicePlan]) {
        assert_eq!(self.settle(plans).await, [""; 0]);
    }

    fn text(&self) -> String {
        fs::read_to_string(self.state.path().join(UID).join("nginx.conf")).unwrap()
    }

    fn containers(&self) -> Vec<String> {
        self.node.with(|node| node.containers.keys().cloned().collect())
    }
}

fn shared(node: &Fake, taken: &Taken, state: &Path) -> Box<dyn Backend> {
    let (range, configs) = ("10.96.0.0/16".parse().unwrap(), Configs::open(state).unwrap());
    let sockets = Box::new(taken.clone());
    Box::new(SharedNginx::new(range, node.clone(), node.clone(), configs, sockets))
}

/// The Service `name` with the uid `u-<name>` at 10.96.0.`last`.
fn service(name: &str, last: u8, endpoints: &[&str]) -> ServicePlan {
    let port = PortPlan {
        port: 80,
        protocol: Protocol::Tcp,
        endpoints: endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect(),
        node_port: None,
        outside_endpoints: [].into(),
    };
    ServicePlan {
        namespace: "default".into(),
        name: name.into(),
        uid: format!("u-{name}"),
        ips: [IpAddr::V4(Ipv4Addr::new(10, 96, 0, last))].into(),
        affinity: None,
        balancing: Balancing::default(),
        kept: [].into(),
        outside: Outside::default(),
        ports: vec![port],
    }
}

fn web() -> ServicePlan {
    service("web", 10, &["10.244.0.2:80"])
}

fn web_scaled() -> ServicePlan {
    service("web", 10, &["10.244.0.2:80", "10.244.0.3:80"])
}

fn sticky(plan: ServicePlan) -> ServicePlan {
    ServicePlan { affinity: Some(Duration::from_secs(10_800)), ..plan }
}

fn api() -> ServicePlan {
    service("api", 11, &["10.244.0.4:80"])
}

/// Its nginxes end.
fn end(node: &mut Node) {
    node.containers.values_mut().for_each(|container| container.running = false);
}

/// The same also at 192.0.2.9, which this host has.
fn exposed(mut plan: ServicePlan) -> ServicePlan {
    plan.ports[0].outside_endpoints = plan.ports[0].endpoints.clone();
    let ips: BTreeSet<IpAddr> = [[192, 0, 2, 9].into()].into();
    let outside = Outside { external_ips: ips.clone(), held: ips, ..Outside::default() };
    ServicePlan { outside, ..plan }
}

#[tokio::test(start_paused = true)]
async fn all_services_have_one_nginx_which_changes_reload_and_which_goes_with_the_last() {
    let mut rig = Rig::new();
    rig.settle_well(&[web(), api()]).await;
    assert_eq!(rig.node.log(), ["take 10.96.0.10", "take 10.96.0.11", "create all Services"]);
    rig.settle_well(&[web_scaled(), api()]).await;
    assert_eq!(rig.node.log(), ["reload id-all-services"]);
    assert!(rig.text().contains("server 10.244.0.3:80 "));
    rig.settle_well(&[web_scaled()]).await;
    assert_eq!(rig.node.log(), ["reload id-all-services", "release 10.96.0.11"]);
    assert!(!rig.text().contains("10.96.0.11"));
    rig.settle_well(&[]).await;
    assert_eq!(rig.node.log(), ["remove id-all-services", "release 10.96.0.10"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_at_once_and_those_that_follow_it_together() {
    let mut rig = Rig::new();
    rig.settle_well(&[web()]).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.node.log();
    // In 2 s; the more old workers stay with their clients, the fewer.
    for (old_workers, reloads) in [(0, 5..=10), (9, 1..=1)] {
        rig.node.with(|node| node.old_workers = old_workers);
        for last in 2..200 {
            let endpoint = format!("10.244.0.{last}:80");
            rig.pass(&[service("web", 10, &[&endpoint])]).await;
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let told = rig.node.log().len();
        assert!(reloads.contains(&told), "{told}");
        // What has come meanwhile is told at once.
        rig.settle_well(&[web_scaled()]).await;
        assert_eq!(rig.node.log(), ["reload id-all-services"]);
        assert!(rig.text().contains("server 10.244.0.3:80 "));
        tokio::time::advance(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_a_server_of_the_host_has_is_left_out_until_it_is_free() {
    let mut rig = Rig::new();
    rig.taken.set(&["10.96.0.10:80"]);
    let why = "default/web: cannot listen at tcp 10.96.0.10:80: address in use";
    assert_eq!(rig.settle(&[web(), api()]).await, [why]);
    assert!(rig.text().contains("listen 10.96.0.11:80 ") && !rig.text().contains("10.96.0.10"));
    // Others go on.
    let other = service("other", 12, &["10.244.0.5:80"]);
    let all = [web(), api(), other];
    assert_eq!(rig.settle(&all).await, [why]);
    assert!(rig.text().contains("listen 10.96.0.12:80 "));
    rig.taken.set(&[]);
    tokio::time::advance(Duration::from_secs(2)).await;
    rig.settle_well(&all).await;
    assert!(rig.text().contains("listen 10.96.0.10:80 "));
}

#[tokio::test(start_paused = true)]
async fn of_two_services_at_one_socket_the_one_that_has_it_keeps_it() {
    let mut rig = Rig::new();
    rig.settle_well(&[exposed(web())]).await;
    let why = "default/api: cannot listen at tcp 192.0.2.9:80: another Service has it";
    assert_eq!(rig.settle(&[exposed(api()), exposed(web())]).await, [why]);
    assert_eq!(rig.text().matches("listen 192.0.2.9:80 ").count(), 1);
    rig.settle_well(&[exposed(api()), web()]).await;
    assert!(rig.text().contains("192.0.2.9:80 10.244.0.4:80; # default/api"));
}

#[tokio::test(start_paused = true)]
async fn from_one_form_to_the_other_and_back_no_container_is_left_and_no_address_let_go() {
    let mut rig = Rig::new();
    let plans = [web(), api(), sticky(service("sticky", 12, &["10.244.0.6:80"]))];
    rig.restart_per_service();
    rig.settle_well(&plans).await;
    assert_eq!(rig.containers(), ["id-u-api", "id-u-sticky", "id-u-web"]);
    rig.node.log();
    rig.restart();
    // They wait for nginxes to go.
    assert!(rig.pass(&plans).await.starting > 0);
    rig.settle_well(&plans).await;
    let mut log = rig.node.log();
    log[..2].sort();
    assert_eq!(log, ["remove id-u-api", "remove id-u-web", "create all Services"]);
    assert_eq!(rig.containers(), ["id-all-services", "id-u-sticky"]);
    rig.restart_per_service();
    rig.settle_well(&plans).await;
    assert_eq!(rig.containers(), ["id-u-api", "id-u-sticky", "id-u-web"]);
    let log = rig.node.log();
    assert_eq!(log[0], "remove id-all-services");
    assert!(log.iter().all(|done| !done.starts_with("release")), "{log:?}");
    assert!(!rig.state.path().join(UID).exists());
}

#[tokio::test(start_paused = true)]
async fn a_service_with_affinity_has_an_nginx_of_its_own_once_its_sockets_are_free() {
    let mut rig = Rig::new();
    rig.settle_well(&[web(), api()]).await;
    rig.node.log();
    rig.settle_well(&[sticky(web()), api()]).await;
    assert_eq!(rig.node.log(), ["reload id-all-services", "create default/web"]);
    rig.settle_well(&[web(), api()]).await;
    assert_eq!(rig.node.log(), ["remove id-u-web", "reload id-all-services"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_nginx_is_adopted_as_it_is_though_its_sockets_are_taken_by_itself() {
    let mut rig = Rig::new();
    rig.settle_well(&[web(), api()]).await;
    rig.taken.set(&["10.96.0.10:80", "10.96.0.11:80"]);
    rig.node.log();
    rig.restart();
    rig.proxy.resume().await.unwrap();
    rig.settle_well(&[web(), api()]).await;
    assert_eq!(rig.node.log(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_up_without_an_api_server_serves_what_it_served() {
    let mut rig = Rig::new();
    rig.settle_well(&[web(), api()]).await;
    rig.node.with(|node| node.held.clear());
    rig.node.with(end);
    rig.node.log();
    rig.restart();
    rig.proxy.resume().await.unwrap();
    let done = ["take 10.96.0.10", "take 10.96.0.11", "start id-all-services"];
    assert_eq!(rig.node.log(), done);
    // One of them has gone meanwhile, and its address with it.
    rig.settle_well(&[web()]).await;
    assert_eq!(rig.node.log(), ["release 10.96.0.11", "reload id-all-services"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_up_without_an_address_that_it_had_serves_at_the_others() {
    let mut rig = Rig::new();
    rig.settle_well(&[exposed(web()), api()]).await;
    rig.node.with(end);
    rig.taken.set(&["192.0.2.9:80"]);
    rig.node.log();
    rig.restart();
    assert!(rig.proxy.resume().await.unwrap().is_empty());
    assert!(
        !rig.text().contains("listen 192.0.2.9") && rig.text().contains("listen 10.96.0.10:80 ")
    );
    // What runs has its sockets itself.
    rig.taken.set(&["10.96.0.10:80", "10.96.0.11:80"]);
    rig.proxy.resume().await.unwrap();
    assert!(rig.text().contains("listen 10.96.0.10:80 "));
    // The address is there when the API server is.
    rig.settle_well(&[exposed(web()), api()]).await;
    assert!(rig.text().contains("listen 192.0.2.9:80 "));
    assert_eq!(rig.node.log(), ["start id-all-services", "reload id-all-services"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_quicker_is_found_out_when_the_configuration_is_not_taken() {
    let mut rig = Rig::new();
    rig.settle_well(&[web()]).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.node.with(|node| node.stubborn.insert(UID.into()));
    rig.pass(&[web(), api()]).await;
    rig.taken.set(&["10.96.0.11:80"]);
    rig.pass(&[web(), api()]).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let failed = rig.pass(&[web(), api()]).await.failed;
    assert_eq!(failed[0].subject, "all Services");
    rig.node.with(|node| node.stubborn.clear());
    let why = "default/api: cannot listen at tcp 10.96.0.11:80: address in use";
    assert_eq!(rig.settle(&[web(), api()]).await, [why]);
    assert!(!rig.text().contains("10.96.0.11"));
}

#[tokio::test(start_paused = true)]
async fn an_nginx_that_was_told_before_a_restart_and_does_not_take_it_begins_anew() {
    let mut rig = Rig::new();
    rig.settle_well(&[web()]).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.node.with(|node| node.stubborn.insert(UID.into()));
    rig.pass(&[web(), api()]).await;
    // Its own, and one that is the host's.
    rig.taken.set(&["10.96.0.10:80", "10.96.0.11:80"]);
    rig.restart();
    rig.pass(&[web(), api()]).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(rig.pass(&[web(), api()]).await.failed[0].subject, "all Services");
    rig.node.with(|node| node.stubborn.clear());
    assert_eq!(rig.settle(&[web(), api()]).await.len(), 2);
    rig.taken.set(&["10.96.0.11:80"]);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(rig.settle(&[web(), api()]).await.len(), 1);
    assert!(rig.text().contains("listen 10.96.0.10:80 "));
}

#[tokio::test(start_paused = true)]
async fn an_nginx_that_can_not_be_told_after_a_restart_keeps_its_own_sockets() {
    let mut rig = Rig::new();
    rig.settle_well(&[web(), api()]).await;
    // By itself.
    rig.taken.set(&["10.96.0.10:80", "10.96.0.11:80"]);
    rig.node.with(|node| node.deaf.insert("id-all-services".into()));
    rig.restart();
    for _ in 0..2 {
        let failed = rig.pass(&[web_scaled(), api()]).await.failed;
        let subjects: Vec<_> = failed.iter().map(|failure| failure.subject.as_str()).collect();
        assert_eq!(subjects, ["all Services"]);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    rig.node.with(|node| node.deaf.clear());
    rig.settle_well(&[web_scaled(), api()]).await;
    assert!(rig.text().contains("server 10.244.0.3:80 "));
}

#[tokio::test(start_paused = true)]
async fn an_nginx_that_has_ended_is_started_with_all_that_is_free() {
    let mut rig = Rig::new();
    rig.settle_well(&[web(), api()]).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    rig.taken.set(&["10.96.0.11:80"]);
    rig.node.with(end);
    rig.proxy.distrust_containers();
    let why = "default/api: cannot listen at tcp 10.96.0.11:80: address in use";
    assert_eq!(rig.settle(&[web(), api()]).await, [why]);
    assert!(rig.text().contains("listen 10.96.0.10:80 ") && !rig.text().contains("10.96.0.11"));
}

#[tokio::test(start_paused = true)]
async fn a_check_knows_the_nginx_of_all_and_what_it_leaves_out() {
    let mut rig = Rig::new();
    rig.taken.set(&["10.96.0.11:80"]);
    rig.settle(&[web(), api()]).await;
    let check = async |rig: &Rig, plans: &[ServicePlan]| {
        let configs = Configs::open(rig.state.path()).unwrap();
        let (specs, mut found) = nginxes::shared(&configs, plans);
        found.extend(nginxes::differences(&rig.node, &configs, &specs).await.unwrap());
        found.into_iter().map(|found| found.message).collect::<Vec<_>>()
    };
    let left_out = "default/api is not served at tcp 10.96.0.11:80";
    assert_eq!(check(&rig, &[web(), api()]).await, [left_out]);
    let stale = "all Services has an nginx that goes by another configuration";
    assert_eq!(check(&rig, &[web_scaled(), api()]).await, [left_out, stale]);
    rig.restart_per_service();
    rig.settle_well(&[web(), api()]).await;
    let found = check(&rig, &[web()]).await;
    let left = |name: &str| format!("default/{name} is gone and has an nginx");
    let unserved = "default/web is not served at tcp 10.96.0.10:80".to_owned();
    let none = "all Services has no nginx".to_owned();
    assert_eq!(found, [unserved, none, left("api"), left("web")]);
}
