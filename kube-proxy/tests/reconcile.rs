//! The reconciler, step by step, against a node that is only remembered.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use fake::{Fake, Node};
use kube_proxy::{
    backend::Backend,
    backend::{Nginx, service::spec},
    check,
    configs::Configs,
    instance::InstanceSpec,
    nginx::{Configuration, Epoch, Telling, http::Http},
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
    reconciler::{Failure, Reconciler, Summary},
};
use tempfile::TempDir;

/// A node with a kube-proxy that can be replaced by a fresh one.
struct Rig {
    node: Fake,
    state: TempDir,
    proxy: Nginx<Fake, Fake>,
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
        self.proxy.want_all(plans.to_vec());
        self.proxy.pass().await.unwrap()
    }

    /// Passes until nothing is under way.
    async fn settle(&mut self, plans: &[ServicePlan]) {
        while self.reconcile(plans).await.pending > 0 {}
    }

    /// As when Docker tells that a container has ended.
    async fn reconcile_after_an_event(&mut self, plans: &[ServicePlan]) -> Summary {
        self.proxy.distrust_containers();
        self.reconcile(plans).await
    }

    /// Reconciles and checks what was done to the node, and that only this Service is not as it should
    /// be, for this reason.
    async fn check_failing(&mut self, plans: &[ServicePlan], done: &[&str], why: &str) {
        let summary = self.reconcile_after_an_event(plans).await;
        let failed = |failure: Failure| format!("{}: {}", failure.subject, failure.error);
        let failed: Vec<_> = summary.failed.into_iter().map(failed).collect();
        assert_eq!(failed, [format!("default/web: {why}")]);
        assert_eq!(self.node.log(), done);
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

fn proxy(node: &Fake, state: &Path) -> Nginx<Fake, Fake> {
    Nginx(Reconciler::new(node.clone(), node.clone(), Configs::open(state).unwrap()))
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

#[tokio::test(start_paused = true)]
async fn a_new_service_gets_its_address_then_its_container_and_is_left_alone() {
    let mut rig = Rig::new();
    rig.check(&[web()], &["take 10.96.0.10", "create default/web"]).await;
    rig.check(&[web()], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn what_has_served_nobody_yet_is_counted_apart() {
    let mut rig = Rig::new();
    assert_eq!(rig.reconcile(&[web()]).await.starting, 1);
    rig.settle(&[web()]).await;
    let reloaded = rig.reconcile(&[web_scaled()]).await;
    assert_eq!((reloaded.pending, reloaded.starting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_check_tells_which_nginxes_are_not_as_they_should_be() {
    let mut rig = Rig::new();
    let other = service("other", 11, &["10.244.0.4:80"]);
    rig.settle(&[web(), other.clone()]).await;
    let check = async |rig: &Rig, plans: &[ServicePlan]| {
        let specs: Vec<_> = plans.iter().map(spec).collect();
        let configs = Configs::open(rig.state.path()).unwrap();
        let found = check::nginxes::differences(&rig.node, &configs, &specs).await.unwrap();
        found.into_iter().map(|found| found.message).collect::<Vec<_>>()
    };
    assert_eq!(check(&rig, &[web(), other.clone()]).await, [""; 0]);
    let stale = "default/web has an nginx that goes by another configuration";
    let left = "default/other is gone and has an nginx";
    assert_eq!(check(&rig, &[web_scaled()]).await, [stale, left]);
    rig.node.with(|node| {
        node.containers.remove("id-u-other");
        node.containers.get_mut("id-u-web").unwrap().running = false;
    });
    let ended = "default/web has an nginx that does not run";
    assert_eq!(check(&rig, &[web(), other]).await, [ended, "default/other has no nginx"]);
    assert!(rig.node.log().iter().all(|done| !done.starts_with("start")), "it changes nothing");
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
async fn a_reload_is_pending_until_nginx_says_that_it_was_taken() {
    let mut rig = Rig::new();
    assert_eq!(rig.reconcile(&[web()]).await.pending, 1);
    assert_eq!(rig.reconcile(&[web()]).await.pending, 0);
    assert_eq!(rig.reconcile(&[web_scaled()]).await.pending, 1);
    assert_eq!(rig.reconcile(&[web_scaled()]).await.pending, 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_change_of_a_flood_is_told_at_once_and_others_the_rarer_the_more_old_workers_stay()
 {
    let mut rig = Rig::new();
    rig.settle(&[web()]).await;
    rig.node.log();
    // One for 0.2 s and each of them, and not for more than 3 s; 32 are the most.
    for (old_workers, reloads) in [(0, 50), (9, 5), (100, 4)] {
        rig.node.with(|node| node.old_workers = old_workers);
        rig.check(&[web_scaled()], &["reload id-u-web"]).await;
        for change in 1..1000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            let endpoint = format!("10.244.{}.{}:80", 1 + change / 250, 1 + change % 250);
            assert!(rig.reconcile(&[service("web", 10, &[&endpoint])]).await.failed.is_empty());
        }
        assert_eq!(rig.node.log().len(), reloads - 1, "{old_workers}");
        // The last one is told, too, and nothing else.
        tokio::time::advance(Duration::from_secs(3)).await;
        rig.check(&[web()], &["reload id-u-web"]).await;
        assert!(fs::read_to_string(rig.config("u-web")).unwrap().contains("10.244.0.2:80"));
        tokio::time::advance(Duration::from_secs(3)).await;
        rig.check(&[web()], &[]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_nginx_that_is_not_up_yet_is_not_signalled() {
    let mut rig = Rig::new();
    rig.node.with(|node| node.silent.insert("u-web".into()));
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.check(&[web_scaled()], &[]).await;
    rig.node.with(|node| node.silent.clear());
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_not_taken_is_a_failure_and_told_again_until_it_is() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.node.with(|node| node.stubborn.insert("u-web".into()));
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
    rig.check(&[web_scaled()], &[]).await;
    let why = "its nginx does not take its configuration: bind() failed";
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(5)).await;
        rig.check_failing(&[web_scaled()], &["reload id-u-web"], why).await;
        rig.check_failing(&[web_scaled()], &[], why).await;
    }
    rig.node.with(|node| node.stubborn.clear());
    assert!(rig.reconcile(&[web_scaled()]).await.failed.is_empty());
    rig.check(&[web_scaled()], &[]).await;
}

/// The Service `web` with an address and an endpoint of the second family.
fn web_of_two_stacks() -> ServicePlan {
    let mut web = service("web", 10, &["10.244.0.2:80", "[fd00:10:244::2]:80"]);
    web.ips.insert("fd00:10:96::a".parse().unwrap());
    web
}

#[tokio::test(start_paused = true)]
async fn a_second_family_comes_and_goes_with_a_reload_and_leaves_nothing() {
    let mut rig = Rig::new();
    rig.settle(&[web()]).await;
    rig.node.log();
    rig.check(&[web_of_two_stacks()], &["take fd00:10:96::a", "reload id-u-web"]).await;
    rig.settle(&[web_of_two_stacks()]).await;
    let listens = |rig: &Rig| {
        fs::read_to_string(rig.config("u-web")).unwrap().contains("listen [fd00:10:96::a]:80 ")
    };
    assert!(listens(&rig));

    // Its container was made for the first one alone.
    rig.node.log();
    rig.node.with(|node| {
        node.held.clear();
        node.containers.get_mut("id-u-web").unwrap().running = false;
    });
    rig.restart();
    rig.proxy.resume().await.unwrap();
    let done = ["take 10.96.0.10", "take fd00:10:96::a", "start id-u-web"];
    assert_eq!(rig.node.log(), done);
    rig.settle(&[web_of_two_stacks()]).await;
    assert_eq!(rig.node.log(), [""; 0]);

    rig.check(&[web()], &["release fd00:10:96::a", "reload id-u-web"]).await;
    rig.settle(&[web()]).await;
    assert!(!listens(&rig));
    assert_eq!(rig.node.with(|node| node.held.clone()), web().ips);
    let configs = Configs::open(rig.state.path()).unwrap();
    let left = check::nginxes::differences(&rig.node, &configs, &[spec(&web())]).await.unwrap();
    assert_eq!(left, []);
}

/// The Service `web` with a node port.
fn web_exposed() -> ServicePlan {
    let ServicePlan { mut ports, .. } = web();
    ports[0].node_port = Some(30080);
    ports[0].outside_endpoints = ports[0].endpoints.clone();
    let node_addresses = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))].into();
    ServicePlan { ports, outside: Outside { node_addresses, ..Outside::default() }, ..web() }
}

#[tokio::test(start_paused = true)]
async fn who_comes_from_outside_has_an_nginx_of_his_own_which_takes_nobody_else_with_it() {
    let mut rig = Rig::new();
    rig.node.with(|node| node.stubborn.insert("u-web-outside".into()));
    rig.reconcile(&[web_exposed()]).await;
    assert!(rig.reconcile(&[web_exposed()]).await.failed.is_empty());
    tokio::time::advance(Duration::from_secs(5)).await;
    let failed = rig.reconcile(&[web_exposed()]).await.failed;
    let about: Vec<_> = failed.iter().map(|it| (&*it.subject, it.uid.as_deref())).collect();
    assert_eq!(about, [("default/web", Some("u-web"))]);
    let listens = |uid: &str, socket: &str| {
        fs::read_to_string(rig.config(uid)).unwrap().contains(&format!("listen {socket} "))
    };
    assert!(listens("u-web", "10.96.0.10:80") && !listens("u-web", "192.0.2.7:30080"));
    assert!(listens("u-web-outside", "192.0.2.7:30080"));
    assert!(!listens("u-web-outside", "10.96.0.10:80"));

    rig.node.log();
    rig.proxy.want(web());
    assert!(rig.proxy.pass().await.unwrap().failed.is_empty());
    assert_eq!(rig.node.log(), ["remove id-u-web-outside"]);
    rig.node.with(|node| node.stubborn.clear());
    rig.settle(&[web_exposed()]).await;
    rig.proxy.forget("u-web");
    rig.proxy.pass().await.unwrap();
    assert!(rig.node.with(|node| node.containers.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_pass_without_changes_asks_neither_docker_nor_the_kernel() {
    let mut rig = Rig::new();
    let plans: Vec<_> = (1..=100).map(|last| service(&format!("s{last}"), last, &[])).collect();
    rig.settle(&plans).await;
    rig.node.with(|node| node.looks = 0);
    rig.reconcile(&plans).await;
    assert_eq!(rig.node.with(|node| node.looks), 0);

    // The net: an address lost is taken again, without anybody having told.
    rig.node.with(|node| node.held.remove(&IpAddr::V4(Ipv4Addr::new(10, 96, 0, 7))));
    rig.node.log();
    tokio::time::advance(Duration::from_secs(10)).await;
    rig.check(&plans, &["take 10.96.0.7"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_containers_are_looked_at_now_and_then_without_an_event() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.node.with(|node| node.containers.clear());
    tokio::time::advance(Duration::from_secs(60)).await;
    rig.check(&[web()], &["create default/web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_made_in_an_old_way_is_made_anew() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.node.with(|node| node.containers.get_mut("id-u-web").unwrap().current = false);
    rig.restart();
    rig.check(&[web()], &["remove id-u-web", "create default/web"]).await;
}

#[tokio::test(start_paused = true)]
async fn services_are_served_although_the_firewall_refuses_its_rules() {
    let mut rig = Rig::new();
    rig.node.with(|node| node.without_firewall = true);
    let summary = rig.reconcile(&[web()]).await;
    assert_eq!((summary.created, summary.failed.len()), (1, 1));
    assert_eq!(summary.failed[0].subject, "ports that no Service serves");
    rig.node.with(|node| node.without_firewall = false);
    assert!(rig.reconcile(&[web()]).await.failed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_has_been_away_for_long_enough_may_come_to_another_endpoint() {
    let mut rig = Rig::new();
    let sticky = [ServicePlan { affinity: Some(Duration::from_secs(40)), ..web_scaled() }];
    rig.reconcile(&sticky).await;
    rig.reconcile(&sticky).await;
    rig.node.log();
    let hash = |rig: &Rig| {
        let text = fs::read_to_string(rig.config("u-web")).unwrap();
        text.lines().find(|line| line.contains("hash")).unwrap().trim().to_owned()
    };
    assert_eq!(hash(&rig), r#"hash "$remote_addr 0" consistent;"#);
    // Somebody comes again and again.
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(20)).await;
        rig.node.with(|node| node.connections += 2);
        rig.check(&sticky, &[]).await;
    }
    // Nobody does.
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(10)).await;
        rig.check(&sticky, &[]).await;
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    rig.check(&sticky, &["reload id-u-web"]).await;
    assert_eq!(hash(&rig), r#"hash "$remote_addr 1" consistent;"#);
    rig.check(&sticky, &[]).await;

    // Another kube-proxy goes on from there.
    rig.restart();
    rig.check(&sticky, &[]).await;
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
    rig.node.with(|node| node.held.insert(IpAddr::V4(Ipv4Addr::new(10, 96, 7, 7))));
    rig.check(&[], &["release 10.96.7.7"]).await;
}

#[tokio::test(start_paused = true)]
async fn services_are_served_although_an_address_can_not_be_released() {
    let mut rig = Rig::new();
    let left = IpAddr::V4(Ipv4Addr::new(10, 96, 7, 7));
    rig.node.with(|node| node.held.insert(left) && node.stuck.insert(left));
    let summary = rig.reconcile(&[web()]).await;
    assert_eq!((summary.created, summary.failed[0].subject.as_str()), (1, "10.96.7.7"));
    rig.node.with(|node| node.stuck.clear());
    assert!(rig.reconcile(&[web()]).await.failed.is_empty());
    assert!(!rig.node.with(|node| node.held.contains(&left)));
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
async fn a_change_does_not_wait_until_many_others_are_up() {
    let mut rig = Rig::new();
    rig.settle(&[web()]).await;
    rig.node.log();
    let others = (11..=60).map(|last| service(&format!("s{last}"), last, &[]));
    let plans: Vec<_> = others.chain([web_scaled()]).collect();
    let summary = rig.reconcile(&plans).await;
    assert_eq!((summary.reloaded, summary.created, summary.pending), (1, 16, 51));
    assert_eq!(rig.node.log()[0], "reload id-u-web");
    rig.settle(&plans).await;
    assert_eq!(rig.node.with(|node| node.containers.len()), 51);
}

#[tokio::test(start_paused = true)]
async fn many_that_have_ended_are_started_by_and_by_though_some_can_not_be() {
    let mut rig = Rig::new();
    let plans: Vec<_> = (11..=60).map(|last| service(&format!("s{last}"), last, &[])).collect();
    rig.settle(&plans).await;
    let end = |node: &mut Node| {
        node.containers.values_mut().for_each(|container| container.running = false);
    };
    let running = |node: &mut Node| node.containers.values().filter(|c| c.running).count();
    rig.node.log();
    rig.node.with(end);
    tokio::time::advance(Duration::from_secs(60)).await;
    rig.settle(&plans).await;
    assert_eq!(rig.node.with(running), 50);
    assert!(rig.node.log().iter().all(|done| done.starts_with("start")));

    rig.node.with(end);
    rig.node.with(|node| node.unstartable.extend((11..=30).map(|last| format!("id-u-s{last}"))));
    tokio::time::advance(Duration::from_secs(60)).await;
    for _ in 0..10 {
        rig.reconcile(&plans).await;
    }
    assert_eq!(rig.node.with(running), 30);
}

#[tokio::test(start_paused = true)]
async fn the_first_change_long_after_a_restart_is_no_failure() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.restart();
    rig.check(&[web()], &[]).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
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
    let configs = Configs::open(rig.state.path()).unwrap();
    let scaled = spec(&web_scaled()).configuration.at(Epoch(0));
    configs.directory("u-web").write(&scaled.text(Telling(1)), scaled.files()).unwrap();
    rig.restart();
    rig.check(&[web_scaled()], &["reload id-u-web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_nginx_is_started_again_but_not_in_a_tight_loop() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    let die = |node: &mut Node| node.containers.get_mut("id-u-web").unwrap().running = false;
    let why = "its nginx has ended: bind() failed";
    for _ in 0..2 {
        // All was well with it in between.
        rig.check(&[web()], &[]).await;
        rig.node.with(die);
        rig.check_failing(&[web()], &[], why).await;
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(rig.reconcile_after_an_event(&[web()]).await.failed.is_empty());
        assert_eq!(rig.node.log(), ["start id-u-web"]);
    }
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
async fn one_that_can_not_be_resumed_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    let plans = ["a", "b", "c", "d", "e"].map(|name| service(name, name.as_bytes()[0], &[]));
    rig.reconcile(&plans).await;
    rig.node.with(|node| {
        node.unstartable.insert("id-u-a".into());
        node.containers.values_mut().for_each(|container| container.running = false);
    });
    rig.node.log();
    rig.restart();
    let failed = rig.proxy.resume().await.unwrap();
    let mut log = rig.node.log();
    log.sort();
    assert_eq!(log, ["start id-u-b", "start id-u-c", "start id-u-d", "start id-u-e"]);
    assert_eq!((failed.len(), failed[0].subject.as_str()), (1, "default/a"));
    rig.node.with(|node| node.unstartable.clear());
    assert_eq!(rig.proxy.resume().await.unwrap().len(), 0);
    assert_eq!(rig.node.log(), ["start id-u-a"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_again_and_again_is_resumed_after_a_pause() {
    let mut rig = Rig::new();
    rig.reconcile(&[web()]).await;
    rig.node.log();
    rig.restart();
    let mut starts_after = async |seconds| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        rig.node.with(|node| node.containers.get_mut("id-u-web").unwrap().running = false);
        assert_eq!(rig.proxy.resume().await.unwrap().len(), 0);
        rig.node.log().len()
    };
    assert_eq!([starts_after(0).await, starts_after(9).await, starts_after(1).await], [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_reported_and_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    rig.node.with(|node| node.broken.insert("default/web".into()));
    let summary = rig.reconcile(&[web(), service("api", 11, &[])]).await;
    assert_eq!((summary.created, summary.failed.len()), (1, 1));
    assert_eq!(summary.failed[0].subject, "default/web");

    rig.node.with(|node| node.broken.clear());
    assert_eq!(rig.reconcile(&[web(), service("api", 11, &[])]).await.created, 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_service_costs_what_one_costs_however_many_others_there_are() {
    let mut rig = Rig::new();
    let all: Vec<_> = (0..1000)
        .map(|number: u16| {
            let [high, low] = (number + 1).to_be_bytes();
            let ip = IpAddr::V4(Ipv4Addr::new(10, 96, high, low));
            let ips = [ip].into();
            ServicePlan { ips, ..service(&format!("s{number}"), 0, &["10.244.0.2:80"]) }
        })
        .collect();
    rig.settle(&all).await;
    rig.reconcile(&all).await;
    rig.node.log();
    rig.node.with(|node| node.looks = 0);
    let endpoints = web_scaled().ports;
    rig.proxy.want(ServicePlan { ports: endpoints, ..all[7].clone() });

    // One is told, and asked whether it has taken it; nothing else is looked at.
    let told = rig.proxy.pass().await.unwrap();
    assert_eq!((told.wanted, told.examined, told.reloaded), (1000, 1, 1));
    assert_eq!(rig.node.log(), ["reload id-u-s7"]);
    let taken = rig.proxy.pass().await.unwrap();
    assert_eq!((taken.examined, taken.pending), (1, 0));
    assert_eq!(rig.node.with(|node| node.looks), 2);

    // The same again is no change.
    rig.proxy.pass().await.unwrap();
    rig.proxy.want(all[8].clone());
    assert_eq!(rig.proxy.pass().await.unwrap().examined, 0);
    assert_eq!(rig.node.log(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_does_not_make_changes_of_others_cost_a_look_at_all() {
    let mut rig = Rig::new();
    let others: Vec<_> = (20..=60).map(|last| service(&format!("s{last}"), last, &[])).collect();
    rig.settle(&others).await;
    rig.node.with(|node| node.broken.insert("default/web".into()));
    rig.proxy.want(web());
    assert_eq!(rig.proxy.pass().await.unwrap().failed.len(), 1);
    rig.node.with(|node| node.looks = 0);
    rig.proxy.want(service("s20", 20, &["10.244.0.2:80"]));
    assert_eq!(rig.proxy.pass().await.unwrap().examined, 2);
    // The one that was told is asked.
    assert_eq!(rig.node.with(|node| node.looks), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.proxy.pass().await.unwrap();
    assert!(rig.node.with(|node| node.looks) > 41);
}

#[tokio::test(start_paused = true)]
async fn an_nginx_may_be_for_any_object_and_hold_several_addresses() {
    let (node, state) = (Fake::default(), tempfile::tempdir().unwrap());
    let mut proxy = proxy(&node, state.path()).0;
    let addresses = |last: &[u8]| last.iter().map(|last| [10, 96, 0, *last].into()).collect();
    let dns = |last: &[u8]| InstanceSpec {
        kind: "DNS".into(),
        uid: "u-dns".into(),
        owner: "default/site".into(),
        name: "dns_site".into(),
        labels: [("io.minik8s.dns".into(), "default/site".into())].into(),
        addresses: addresses(last),
        configuration: Configuration {
            title: "DNS default/site".into(),
            connections: 1024,
            stream: "    server { listen 10.96.0.20:80; return site; }\n".into(),
            http: Http::default(),
            affinity: None,
            draining_connections: 262_144,
        },
    };
    proxy.want_all("DNS", vec![dns(&[20, 21])]);
    proxy.want_all("Service", vec![spec(&web())]);
    while proxy.pass().await.unwrap().pending > 0 {}
    assert_eq!(node.with(|node| node.held.clone()), addresses(&[10, 20, 21]));
    let text = fs::read_to_string(state.path().join("u-dns/nginx.conf")).unwrap();
    assert!(text.starts_with("# DNS default/site") && text.contains("return site;"), "{text}");

    // Other addresses, the same container.
    node.log();
    proxy.want(dns(&[21, 22]));
    proxy.pass().await.unwrap();
    assert_eq!(node.log(), ["release 10.96.0.20", "take 10.96.0.22"]);
    proxy.forget("u-dns");
    proxy.pass().await.unwrap();
    let done = ["remove id-u-dns", "release 10.96.0.21", "release 10.96.0.22"];
    assert_eq!(node.log(), done);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_objects_of_a_kind_goes_only_when_all_of_that_kind_are_told() {
    let mut rig = Rig::new();
    let mut site = InstanceSpec {
        kind: "DNS".into(),
        uid: "u-dns".into(),
        owner: "default/site".into(),
        name: "dns_site".into(),
        addresses: [[10, 96, 0, 20].into()].into(),
        ..spec(&web())
    };
    // It is not the Service's.
    site.configuration.stream.clear();
    rig.proxy.0.want_all("DNS", vec![site.clone()]);
    rig.settle(&[web()]).await;
    rig.node.log();

    // Nobody has told of DNS yet, and then of none of its objects; what is there is of an older version.
    rig.node.with(|node| node.containers.get_mut("id-u-dns").unwrap().current = false);
    rig.restart();
    rig.settle(&[]).await;
    assert_eq!(rig.node.log(), ["remove id-u-web", "release 10.96.0.10"]);
    assert!(rig.config("u-dns").exists() && !rig.config("u-web").exists());
    assert_eq!(rig.reconcile(&[]).await.examined, 0);
    rig.proxy.0.want_all("DNS", Vec::new());
    rig.check(&[], &["remove id-u-dns", "release 10.96.0.20"]).await;
    assert!(!rig.config("u-dns").exists());

    // One kind's objects go without the other's.
    rig.proxy.0.want_all("DNS", vec![site]);
    rig.settle(&[web()]).await;
    rig.node.log();
    rig.proxy.0.want_all("DNS", Vec::new());
    rig.check(&[web()], &["remove id-u-dns", "release 10.96.0.20"]).await;
}
