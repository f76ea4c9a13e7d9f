//! Services carried by the kernel's own nftables: what clients in pods and on the node meet.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../fake/mod.rs"]
mod fake;
mod rig;

use std::{collections::BTreeSet, io::ErrorKind, net::Ipv4Addr, time::Duration};

use kube_proxy::{
    backend::{Backend, Nginx, WithoutRules},
    plan::ServicePlan,
    reconciler::{Failure, Reconciler},
};
use rig::{Answer, VIP, call, connect, flow, nft, on_a_node, range, service, settle};

/// With three endpoints none is missed by so many connections, but once in 10^17 runs.
const CONNECTIONS: usize = 100;

fn answers(port: u16) -> BTreeSet<Answer> {
    (0..CONNECTIONS).map(|_| call(port).unwrap()).collect()
}

#[test]
fn connections_are_led_to_all_endpoints_and_pods_keep_their_address() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0, 1, 2]))]).await;
        let client = node.pods[0].address;
        // One that is its own server sees the node.
        let seen = |by| if by == client { [10, 244, 0, 1].into() } else { client };
        let all = node.pods.iter().map(|pod| Answer { by: pod.address, to: seen(pod.address) });
        let all: BTreeSet<_> = all.collect();
        assert_eq!(node.pods[0].run(|| answers(80)), all);
        let datagrams =
            || (0..CONNECTIONS).map(|_| flow(53).ask().unwrap()).collect::<BTreeSet<_>>();
        assert_eq!(node.pods[0].run(datagrams), all);
    });
}

#[test]
fn the_node_itself_is_served_from_the_address_that_it_has_for_pods() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0, 1]))]).await;
        let by = |number: usize| Answer {
            by: node.pods[number].address,
            to: Ipv4Addr::new(10, 244, 0, 1),
        };
        assert_eq!(answers(80), [by(0), by(1)].into());
        assert!([by(0), by(1)].contains(&flow(53).ask().unwrap()));
    });
}

#[test]
fn what_has_no_endpoint_is_refused_at_once_and_served_when_it_has_one() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&[])]).await;
        // Another port is nobody's: the rules about virtual IPs refuse it.
        for port in [80, 81] {
            assert_eq!(call(port), Err(ErrorKind::ConnectionRefused));
            assert_eq!(node.pods[0].run(move || call(port)), Err(ErrorKind::ConnectionRefused));
        }
        let (here, there) = (flow(53), node.pods[0].run(|| flow(53)));
        assert_eq!(here.ask(), Err(ErrorKind::ConnectionRefused));
        let (there, refused) = node.pods[0].run(move || {
            let refused = there.ask();
            (there, refused)
        });
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));

        proxy.want(service(&node.endpoints(&[1])));
        settle(&mut proxy).await;
        let by = node.pods[1].address;
        assert_eq!(call(80).unwrap().by, by);
        // Flows that were refused go on.
        assert_eq!(here.ask().unwrap().by, by);
        assert_eq!(node.pods[0].run(move || there.ask()).unwrap().by, by);
    });
}

#[test]
fn connections_outlive_changes_and_flows_of_datagrams_go_to_who_is_there() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0]))]).await;
        let (mut connection, flow) = (connect(80).unwrap(), flow(53));
        let first = node.pods[0].address;
        assert_eq!((connection.ask().unwrap().by, flow.ask().unwrap().by), (first, first));

        proxy.want(service(&node.endpoints(&[1, 2])));
        settle(&mut proxy).await;
        assert_eq!(connection.ask().unwrap().by, first);
        let now = flow.ask().unwrap().by;
        assert_ne!(now, first);

        // The endpoint that has it keeps it.
        let kept = node.pods.iter().position(|pod| pod.address == now).unwrap();
        proxy.want(service(&node.endpoints(&[0, kept])));
        settle(&mut proxy).await;
        assert_eq!(flow.ask().unwrap().by, now);

        proxy.forget("u1");
        settle(&mut proxy).await;
        assert_eq!(connection.ask().unwrap().by, first);
        assert_eq!(flow.ask(), Err(ErrorKind::ConnectionRefused));
        assert_eq!(call(80), Err(ErrorKind::ConnectionRefused));
    });
}

fn sticky(seconds: u64, plan: ServicePlan) -> ServicePlan {
    ServicePlan { affinity: Some(Duration::from_secs(seconds)), ..plan }
}

/// Who serves the client, if it is always the same.
fn only(answers: &BTreeSet<Answer>) -> Ipv4Addr {
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.first().unwrap().by
}

#[test]
fn a_client_stays_with_its_endpoint_while_that_is_there_whoever_begins_anew() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        let plan = |numbers: &[usize]| sticky(3600, service(&node.endpoints(numbers)));
        node.serve(&mut proxy, vec![plan(&[0, 1, 2])]).await;
        let mine = only(&answers(80));
        let of_pod = only(&node.pods[0].run(|| answers(80)));

        let mut proxy = node.kube_proxy().await;
        let kept = node.pods.iter().position(|pod| pod.address == mine).unwrap();
        let others: Vec<_> = (0..3).filter(|number| *number != kept).collect();
        node.serve(&mut proxy, vec![plan(&[kept, others[0]])]).await;
        assert_eq!(only(&answers(80)), mine);

        proxy.want(plan(&others));
        settle(&mut proxy).await;
        let other = only(&answers(80));
        assert_ne!(other, mine);
        if of_pod == node.pods[others[0]].address {
            assert_eq!(only(&node.pods[0].run(|| answers(80))), of_pod);
        }
    });
}

#[test]
fn a_client_that_was_away_for_long_may_come_to_another_endpoint() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        let plan = sticky(1, service(&node.endpoints(&[0, 1])));
        node.serve(&mut proxy, vec![plan]).await;
        let first = call(80).unwrap().by;
        let away = || {
            while nft("list ruleset").contains(" expires ") {}
            call(80).unwrap().by
        };
        // Each time with the same chance: once in 10^9 runs never.
        assert!((0..30).any(|_| away() != first));
    });
}

async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0, 1]))]).await;
        for (change, seconds) in [
            ("flush ruleset", 11),
            ("flush chain ip minik8s-services-0a600000-16 serve", 11),
            ("flush map ip minik8s-services-0a600000-16 services", 61),
        ] {
            nft(change);
            assert_eq!(call(80), Err(ErrorKind::ConnectionRefused), "{change}");
            later(seconds).await;
            settle(&mut proxy).await;
            call(80).unwrap();
        }
    });
}

#[test]
fn a_change_that_fails_is_made_up_for_by_the_next_pass() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0]))]).await;
        nft("delete table ip minik8s-services-0a600000-16");
        // It would remove an element that is not there.
        proxy.want(service(&node.endpoints(&[1])));
        let failed = proxy.pass().await.unwrap().failed;
        assert_eq!(failed.len(), 1, "{failed:?}");
        settle(&mut proxy).await;
        assert_eq!(call(80).unwrap().by, node.pods[1].address);
    });
}

#[test]
fn node_ports_are_not_served_which_is_told_of_the_service() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        let mut plan = service(&node.endpoints(&[0]));
        plan.ports[1].node_port = Some(30080);
        proxy.want_all(vec![plan]);
        let summary = proxy.pass().await.unwrap();
        assert!(summary.failed.is_empty() && !proxy.serves_from_outside());
        let told = |it: &Failure| (it.subject.clone(), it.uid.clone());
        let told: Vec<_> = summary.unserved.iter().map(told).collect();
        assert_eq!(told, [("default/web".to_owned(), Some("u1".to_owned()))]);
        proxy.forget("u1");
        assert!(proxy.pass().await.unwrap().unserved.is_empty());
    });
}

#[test]
fn an_address_that_another_service_has_got_stays() {
    on_a_node(async |node| {
        let plan = |uid: &str| {
            let plan = service(&node.endpoints(&[0]));
            ServicePlan { uid: uid.to_owned(), ..plan }
        };
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![plan("u1")]).await;
        proxy.want(plan("u2"));
        proxy.forget("u1");
        settle(&mut proxy).await;
        later(11).await;
        settle(&mut proxy).await;
        assert_eq!(call(80).unwrap().by, node.pods[0].address);
    });
}

#[test]
fn services_are_carried_while_docker_is_away_which_is_told() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.docker.with(|docker| docker.away = true);
        proxy.look().await.unwrap();
        proxy.want_all(vec![service(&node.endpoints(&[0]))]);
        let failed = proxy.pass().await.unwrap().failed;
        let subjects: Vec<_> = failed.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(subjects, ["nginxes of hosts"]);
        assert_eq!(call(80).unwrap().by, node.pods[0].address);
        node.docker.with(|docker| docker.away = false);
        settle(&mut proxy).await;
    });
}

#[test]
fn either_mode_leaves_nothing_of_the_other() {
    on_a_node(async |node| {
        let nginx = Reconciler::new(node.docker.clone(), node.loopback().await, node.configs());
        let mut nginx = WithoutRules::new(range(), Nginx(nginx));
        let docker = node.docker.clone();
        docker.with(|node| _ = node.held.insert(VIP));
        let plan = || service(&node.endpoints(&[0, 1]));
        nginx.want_all(vec![plan()]);
        while nginx.pass().await.unwrap().pending > 0 {}
        docker.with(|node| assert_eq!(node.containers.len(), 1));

        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![plan()]).await;
        docker.with(|node| assert!(node.containers.is_empty()));
        call(80).unwrap();

        let again = Reconciler::new(docker.clone(), node.loopback().await, node.configs());
        let mut again = WithoutRules::new(range(), Nginx(again));
        again.want_all(vec![plan()]);
        while again.pass().await.unwrap().pending > 0 {}
        docker.with(|node| assert_eq!(node.containers.len(), 1));
        assert!(!nft("list tables").contains("minik8s-services"));
    });
}

#[test]
fn rules_that_nobody_keeps_go_in_the_end_though_a_service_is_not_carried_otherwise() {
    on_a_node(async |node| {
        let plan = || service(&node.endpoints(&[0]));
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![plan()]).await;
        let docker = node.docker.clone();
        docker.with(|node| _ = node.held.insert(VIP));
        docker.with(|node| _ = node.broken.insert("default/web".to_owned()));
        let nginx = Reconciler::new(docker, node.loopback().await, node.configs());
        let mut nginx = WithoutRules::new(range(), Nginx(nginx));
        nginx.want_all(vec![plan()]);
        for (wait, is_there) in [(0, true), (60, false)] {
            later(wait).await;
            assert_eq!(nginx.pass().await.unwrap().failed.len(), 1);
            assert_eq!(nft("list tables").contains("minik8s-services"), is_there);
        }
    });
}
