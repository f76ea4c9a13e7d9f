//! Services carried by the kernel's own nftables: what clients in pods and on the node meet.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../fake/mod.rs"]
mod fake;
mod rig;

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use kube_proxy::{
    backend::{Backend, Leftover, Nginx, WithoutRules},
    plan::{Outside, ServicePlan},
    reconciler::{ReconcileError, Reconciler},
};
use rig::{
    Answer, BALANCER, CLIENT, CLIENT_V6, EXTERNAL, GATEWAY, GATEWAY_V6, NODE, NODE_V6, Node, VIP,
    VIP_V6, call, call_at, connect, flow, flow_to, nft, on_a_node, range, service, settle,
};

/// With three endpoints none is missed by so many connections, but once in 10^17 runs.
const CONNECTIONS: usize = 100;

fn answers(port: u16) -> BTreeSet<Answer> {
    answers_at(VIP, port)
}

fn answers_at(address: IpAddr, port: u16) -> BTreeSet<Answer> {
    (0..CONNECTIONS).map(|_| call_at(address, port).unwrap()).collect()
}

#[test]
fn connections_are_led_to_all_endpoints_and_pods_keep_their_address() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0, 1, 2]))]).await;
        let client = node.pods[0].address;
        // One that is its own server sees the node.
        let seen = |by| if by == client { GATEWAY } else { client };
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
        let by = |number: usize| Answer { by: node.pods[number].address, to: GATEWAY };
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
fn only(answers: &BTreeSet<Answer>) -> IpAddr {
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
fn a_change_that_fails_is_made_up_for_at_once() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0]))]).await;
        nft("delete table ip minik8s-services-0a600000-16");
        // It would remove an element that is not there.
        proxy.want(service(&node.endpoints(&[1])));
        settle(&mut proxy).await;
        assert_eq!(call(80).unwrap().by, node.pods[1].address);
    });
}

/// Also at ports of the node and two of its addresses, where it has endpoints of its own.
fn exposed(node: &Node, endpoints: &[usize]) -> ServicePlan {
    let mut plan = service(&node.endpoints(&[0]));
    plan.outside = Outside {
        node_addresses: [NODE, IpAddr::V4(Ipv4Addr::LOCALHOST)].into(),
        external_ips: [EXTERNAL].into(),
        balancer_ips: [BALANCER].into(),
        held: [EXTERNAL, BALANCER].into(),
        ..Outside::default()
    };
    for port in &mut plan.ports {
        port.node_port = Some(30_000 + port.port);
        port.outside_endpoints = node.endpoints(endpoints).into_iter().collect();
    }
    plan
}

const FROM_OUTSIDE: [(IpAddr, u16); 3] = [(NODE, 30_080), (EXTERNAL, 80), (BALANCER, 80)];

/// Who answers there, and whom they see.
fn answers_outside(datagrams: (IpAddr, u16)) -> BTreeSet<Answer> {
    let call = |at: usize| {
        let (address, port) = FROM_OUTSIDE[at % 3];
        call_at(address, port).unwrap()
    };
    let (address, port) = datagrams;
    let flows = (0..CONNECTIONS).map(|_| flow_to(address, port).ask().unwrap());
    (0..3 * CONNECTIONS).map(call).chain(flows).collect()
}

#[test]
fn who_comes_by_node_ports_external_ips_and_balancers_is_led_to_the_endpoints_for_outside() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![exposed(&node, &[1, 2])]).await;
        let seen = |to| node.pods[1..].iter().map(|pod| Answer { by: pod.address, to }).collect();
        let (udp, expected): (_, BTreeSet<_>) = ((NODE, 30_053), seen(GATEWAY));
        assert_eq!(node.client.run(move || answers_outside(udp)), expected);
        assert_eq!(answers_outside(udp), expected);
        let of_pod = node.pods[0].run(move || answers_outside((EXTERNAL, 53)));
        assert_eq!(of_pod, seen(node.pods[0].address));
        assert_eq!(call(80).unwrap().by, node.pods[0].address);
        assert_eq!(
            call_at(IpAddr::V4(Ipv4Addr::LOCALHOST), 30_080),
            Err(ErrorKind::ConnectionRefused)
        );

        // The host answers for itself where it is no Service's.
        let mut plan = exposed(&node, &[1]);
        plan.outside.held.remove(&EXTERNAL);
        proxy.want(plan);
        settle(&mut proxy).await;
        let at_external = node.client.run(|| call_at(EXTERNAL, 80));
        assert_eq!(at_external, Err(ErrorKind::ConnectionRefused));
        proxy.forget("u1");
        settle(&mut proxy).await;
        let at_node = node.client.run(|| call_at(NODE, 30_080));
        assert_eq!(at_node, Err(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn endpoints_of_this_host_alone_see_who_comes_from_outside() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        let mut plan = exposed(&node, &[1]);
        plan.outside.local_only = true;
        node.serve(&mut proxy, vec![plan.clone()]).await;
        let seen = Answer { by: node.pods[1].address, to: CLIENT };
        assert_eq!(node.client.run(|| answers_outside((NODE, 30_053))), [seen].into());
        assert_eq!(call_at(NODE, 30_080).map(|answer| answer.by), Ok(seen.by));
        // Of which there are none.
        for port in &mut plan.ports {
            port.outside_endpoints.clear();
        }
        proxy.want(plan);
        settle(&mut proxy).await;
        let refused = node.client.run(|| call_at(NODE, 30_080));
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn servers_of_the_host_keep_their_ports_and_the_service_is_told_of() {
    on_a_node(async |node| {
        let server = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 30_080)).unwrap();
        server.set_nonblocking(true).unwrap();
        let mut proxy = node.kube_proxy().await;
        proxy.want_all(vec![exposed(&node, &[1])]);
        let failed = proxy.pass().await.unwrap().failed;
        let told: Vec<_> =
            failed.iter().map(|it| format!("{}: {}", it.subject, it.error)).collect();
        let listens = "a server of this host listens at tcp 192.0.2.1:30080 already";
        assert_eq!(told, [format!("default/web: {listens}")]);
        node.client.run(|| TcpStream::connect((NODE, 30_080)).map(drop)).unwrap();
        server.accept().unwrap();
        assert_eq!(node.client.run(|| call_at(EXTERNAL, 80)).unwrap().by, node.pods[1].address);

        drop(server);
        later(11).await;
        settle(&mut proxy).await;
        assert_eq!(node.client.run(|| call_at(NODE, 30_080)).unwrap().by, node.pods[1].address);
    });
}

#[test]
fn a_balancer_s_clients_are_those_that_its_service_names() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        let mut serve = async |ranges: &[&str]| {
            let mut plan = exposed(&node, &[1]);
            plan.outside.source_ranges =
                Some(ranges.iter().map(|it| it.parse().unwrap()).collect());
            node.serve(&mut proxy, vec![plan]).await;
            let [balanced, other] =
                node.client.run(|| [call_at(BALANCER, 80), call_at(EXTERNAL, 80)]);
            assert_eq!(other.unwrap().by, node.pods[1].address);
            balanced.map(|answer| answer.by)
        };
        let (let_in, refused) = (Ok(node.pods[1].address), Err(ErrorKind::ConnectionRefused));
        assert_eq!(serve(&["198.51.100.0/24", "192.0.2.128/25"]).await, refused);
        assert_eq!(serve(&[]).await, refused);
        assert_eq!(serve(&["192.0.2.0/24", "192.0.2.0/25"]).await, let_in);
        assert_eq!(serve(&["0.0.0.0/0"]).await, let_in);
    });
}

#[test]
fn flows_of_datagrams_to_node_ports_follow_the_endpoints() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![service(&node.endpoints(&[0]))]).await;
        let flow = node.client.run(|| flow_to(NODE, 30_053));
        let ask = move |flow: rig::Flow| {
            let answer = flow.ask();
            (flow, answer.map(|answer| answer.by))
        };
        let (flow, refused) = node.client.run(move || ask(flow));
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
        let mut flow = flow;
        for endpoint in [1, 2] {
            proxy.want(exposed(&node, &[endpoint]));
            settle(&mut proxy).await;
            let (again, by) = node.client.run(move || ask(flow));
            assert_eq!(by, Ok(node.pods[endpoint].address));
            flow = again;
        }
        // The rules are lost, and nobody knows by which the flow is led.
        nft("delete table ip minik8s-services-0a600000-16");
        let mut proxy = node.kube_proxy().await;
        node.serve(&mut proxy, vec![exposed(&node, &[1])]).await;
        assert_eq!(node.client.run(move || ask(flow)).1, Ok(node.pods[1].address));
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

/// Is there until it is removed.
#[derive(Clone, Debug, Default)]
struct Left(Arc<AtomicBool>);

#[async_trait]
impl Leftover for Left {
    async fn remove(&self) -> Result<(), ReconcileError> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
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
        let left = Left::default();
        let again = WithoutRules::new(range(), Nginx(again));
        let mut again = again.and_without(Box::new(left.clone()));
        again.want_all(vec![plan()]);
        while again.pass().await.unwrap().pending > 0 {
            assert!(!left.0.load(Ordering::Relaxed));
        }
        assert!(left.0.load(Ordering::Relaxed));
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

#[test]
fn a_service_of_two_stacks_is_led_to_endpoints_of_the_family_by_which_one_comes() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy_of_two_stacks().await;
        node.serve(&mut proxy, vec![node.service_of_two_stacks(&[0, 1, 2])]).await;
        let client = node.pods[0].second;
        // One that is its own server sees the node.
        let seen = |by| if by == client { GATEWAY_V6 } else { client };
        let all = node.pods.iter().map(|pod| Answer { by: pod.second, to: seen(pod.second) });
        let all: BTreeSet<_> = all.collect();
        assert_eq!(node.pods[0].run(|| answers_at(VIP_V6, 80)), all);
        let datagrams = || {
            let flows = (0..CONNECTIONS).map(|_| flow_to(VIP_V6, 53).ask().unwrap());
            flows.collect::<BTreeSet<_>>()
        };
        assert_eq!(node.pods[0].run(datagrams), all);
        let of_node = node.pods.iter().map(|pod| Answer { by: pod.second, to: GATEWAY_V6 });
        assert_eq!(answers_at(VIP_V6, 80), of_node.collect());
        let of_ipv4 = node.pods.iter().map(|pod| Answer { by: pod.address, to: GATEWAY });
        assert_eq!(answers(80), of_ipv4.collect());
    });
}

#[test]
fn endpoints_of_one_family_that_come_and_go_are_nothing_to_the_other() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy_of_two_stacks().await;
        let mut plan = node.service_of_two_stacks(&[0]);
        plan.ports.iter_mut().for_each(|port| port.endpoints.retain(|it| it.is_ipv4()));
        node.serve(&mut proxy, vec![plan.clone()]).await;
        let flow = flow_to(VIP_V6, 53);
        for port in [80, 81] {
            assert_eq!(call_at(VIP_V6, port), Err(ErrorKind::ConnectionRefused));
            let refused = node.pods[1].run(move || call_at(VIP_V6, port));
            assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
        }
        assert_eq!(flow.ask(), Err(ErrorKind::ConnectionRefused));
        assert_eq!(call(80).unwrap().by, node.pods[0].address);

        proxy.want(node.service_of_two_stacks(&[0]));
        settle(&mut proxy).await;
        assert_eq!(call_at(VIP_V6, 80).unwrap().by, node.pods[0].second);
        // The flow that was refused goes on, and follows the endpoints.
        assert_eq!(flow.ask().unwrap().by, node.pods[0].second);
        proxy.want(node.service_of_two_stacks(&[1]));
        settle(&mut proxy).await;
        assert_eq!(flow.ask().unwrap().by, node.pods[1].second);

        proxy.want(ServicePlan { ips: [VIP].into(), ..plan });
        settle(&mut proxy).await;
        later(11).await;
        settle(&mut proxy).await;
        // Nobody's address: it leads nowhere.
        assert!(call_at(VIP_V6, 80).is_err());
        assert_eq!(call(80).unwrap().by, node.pods[0].address);
    });
}

#[test]
fn a_client_of_ipv6_stays_with_its_endpoint() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy_of_two_stacks().await;
        let plan = sticky(3600, node.service_of_two_stacks(&[0, 1, 2]));
        node.serve(&mut proxy, vec![plan]).await;
        let mine = only(&answers_at(VIP_V6, 80));
        // Whoever begins anew finds the clients.
        let mut proxy = node.kube_proxy_of_two_stacks().await;
        let plan = sticky(3600, node.service_of_two_stacks(&[2, 1, 0]));
        node.serve(&mut proxy, vec![plan]).await;
        assert_eq!(only(&answers_at(VIP_V6, 80)), mine);
    });
}

#[test]
fn node_ports_are_at_the_node_s_addresses_of_ipv6_too() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy_of_two_stacks().await;
        let mut plan = node.service_of_two_stacks(&[1]);
        plan.outside.node_addresses = [NODE, NODE_V6].into();
        for port in &mut plan.ports {
            port.node_port = Some(30_000 + port.port);
            port.outside_endpoints = port.endpoints.clone();
        }
        node.serve(&mut proxy, vec![plan.clone()]).await;
        let [first, second] = [node.pods[1].address, node.pods[1].second];
        let ask =
            || [call_at(NODE_V6, 30_080), call_at(NODE, 30_080), flow_to(NODE_V6, 30_053).ask()];
        let seen = |by, to| Ok(Answer { by, to });
        let expected = [seen(second, GATEWAY_V6), seen(first, GATEWAY), seen(second, GATEWAY_V6)];
        assert_eq!(node.client.run(ask), expected);

        plan.outside.local_only = true;
        proxy.want(plan);
        settle(&mut proxy).await;
        let seen_as = node.client.run(|| call_at(NODE_V6, 30_080));
        assert_eq!(seen_as, seen(second, CLIENT_V6));
    });
}

#[test]
fn rules_of_ipv6_that_somebody_flushed_come_back() {
    on_a_node(async |node| {
        let mut proxy = node.kube_proxy_of_two_stacks().await;
        node.serve(&mut proxy, vec![node.service_of_two_stacks(&[0, 1])]).await;
        for (change, seconds) in [
            ("delete table ip6 minik8s-services-0a600000-16", 11),
            ("flush map ip6 minik8s-services-0a600000-16 services", 61),
        ] {
            nft(change);
            assert_eq!(call_at(VIP_V6, 80), Err(ErrorKind::ConnectionRefused), "{change}");
            call(80).unwrap();
            later(seconds).await;
            settle(&mut proxy).await;
            call_at(VIP_V6, 80).unwrap();
        }
    });
}
