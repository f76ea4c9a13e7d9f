//! The reconciler, step by step, against a node that is only remembered.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use fake::{Fake, Node};
use kube_proxy::{
    configs::Configs,
    plan::{PortPlan, Protocol, ServicePlan},
    reconciler::{Reconciler, Summary},
};
use tempfile::TempDir;

/// A node with a kube-proxy that can be replaced by a fresh one.
struct Rig {
    node: Fake,
    state: TempDir,
    proxy: Reconciler<Fake, Fake>,
}

impl Rig {
    fn new() -> Self {
        let (node, state) = (Fake::default(), tempfile::tempdir().unwrap());
        let proxy = proxy(&node, state.path());
        Rig { node, state, proxy }
    }

    /// kube-proxy ends and another one begins: only the node and the files stay.
    fn restart(&mut self) {
        self.proxy = proxy(&self.node, self.state.path());
    }

    async fn reconcile(&mut self, plans: &[ServicePlan]) -> Summary {
        self.proxy.reconcile(plans).await.unwrap()
    }

    /// Reconciles and checks what was done to the node.
    async fn check(&mut self, plans: &[ServicePlan], done: &[&str]) {
        let summary = self.reconcile(plans).await;
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        assert_eq!(self.node.log(), done);
    }

    fn config(&self, uid: &str) -> PathBuf {
        self.state.path().join(uid).join("nginx.conf")
    }
}

fn proxy(node: &Fake, state: &Path) -> Reconciler<Fake, Fake> {
    Reconciler::new(node.clone(), node.clone(), Configs::open(state).unwrap())
}

/// The Service `name` with the uid `u-<name>` at 10.96.0.`last`.
fn service(name: &str, last: u8, endpoints: &[&str]) -> ServicePlan {
    let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    ServicePlan {
        namespace: "default".into(),
        name: name.into(),
        uid: format!("u-{name}"),
        ip: Ipv4Addr::new(10, 96, 0, last),
        client_affinity: false,
        ports: vec![PortPlan { port: 80, protocol: Protocol::Tcp, endpoints }],
    }
}

fn web() -> ServicePlan {
    service("web", 10, &["10.244.0.2:80"])
}

fn web_scaled() -> ServicePlan {
    service("web", 10, &["10.244.0.2:80", "10.244.0.3:80"])
}

#[tokio::test(start_paused = true)]
async fn a_new_service_gets_its_address_then_its_container_and_is_left_alone() {
    let mut rig = Rig::new();
    rig.check(&[web()], &["take 10.96.0.10", "create default/web"]).await;
    rig.check(&[web()], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn new_endpoints_reload_and_never_restart() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
    assert!(fs::read_to_string(rig.config("u-web")).unwrap().contains("10.244.0.3:80"));
    rig.check(&[web_scaled()], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn an_nginx_is_given_time_to_listen_to_signals_before_its_first_reload() {
    let mut rig = Rig::new();
    let begin = tokio::time::Instant::now();
    rig.reconcile(&[web()]).await;
    rig.reconcile(&[web_scaled()]).await;
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_service_leaves_nothing_behind() {
    let mut rig = Rig::new();
    rig.reconcile(&[web(), service("api", 11, &[])]).await;
    rig.node.log();
    rig.check(&[service("api", 11, &[])], &["remove id-u-web", "release 10.96.0.10"]).await;
    assert!(!rig.config("u-web").exists() && rig.config("u-api").exists());
}

#[tokio::test(start_paused = true)]
async fn a_service_made_anew_with_the_same_name_and_address_gets_a_new_container() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    let anew = ServicePlan { uid: "u-other".into(), ..web() };
    rig.check(&[anew], &["remove id-u-web", "create default/web"]).await;
}

#[tokio::test(start_paused = true)]
async fn addresses_that_nobody_wants_are_released() {
    let mut rig = Rig::new();
    rig.node.with(|node| node.held.insert(Ipv4Addr::new(10, 96, 7, 7)));
    rig.check(&[], &["release 10.96.7.7"]).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_runs_is_adopted_as_it_is() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.restart();
    rig.proxy.resume().await.unwrap();
    rig.check(&[web()], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_during_its_absence_is_caught_up_with_a_reload() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.restart();
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_not_lost_if_kube_proxy_ends_before_it() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    Configs::open(rig.state.path())
        .unwrap()
        .write("u-web", &kube_proxy::nginx::render(&web_scaled()))
        .unwrap();
    rig.restart();
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_nginx_is_started_again_but_not_in_a_tight_loop() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    let die = |node: &mut Node| node.containers.get_mut("id-u-web").unwrap().running = false;

    rig.node.with(die);
    rig.check(&[web()], &[]).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    rig.check(&[web()], &["start id-u-web"]).await;

    rig.node.with(die);
    rig.check(&[web()], &[]).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    rig.check(&[web()], &["start id-u-web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_up_without_an_api_server_serves_what_it_served() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.node.with(|node| {
        node.held.clear();
        node.containers.get_mut("id-u-web").unwrap().running = false;
    });
    rig.restart();
    rig.proxy.resume().await.unwrap();
    assert_eq!(rig.node.log(), ["take 10.96.0.10", "start id-u-web"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_reported_and_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    rig.node.with(|node| node.broken.insert("web".into()));
    let summary = rig.reconcile(&[web(), service("api", 11, &[])]).await;
    assert_eq!((summary.created, summary.failed.len()), (1, 1));
    assert_eq!(summary.failed[0].0, "default/web");

    rig.node.with(|node| node.broken.clear());
    assert_eq!(rig.reconcile(&[web(), service("api", 11, &[])]).await.created, 1);
}
