//! Where servers of hosts lead to pods, and at which addresses and ports a pod finds these servers: from the plans of
//! Services. What another host does is not known here but for what any host may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    facts::{Cluster, Service},
    rules::{At, Protocol},
};
use crate::plan::{self, Anywhere, Outside, PortPlan, ServicePlan};

/// What this host does for a Service, and where its ports lead on others.
pub(super) type Planned = (ServicePlan, BTreeMap<(u16, plan::Protocol), Anywhere>);

/// Notes all ways to pods that there are through servers.
pub(super) fn note(cluster: &mut Cluster, services: &[Planned]) {
    // At a load balancer's address whoever holds it has node ports, too.
    let balanced = services.iter().flat_map(|(plan, _)| balanced_elsewhere(&plan.outside));
    cluster.nodes_elsewhere.extend(balanced);
    for (plan, anywhere) in services {
        for port in &plan.ports {
            let nowhere = Anywhere::default();
            let anywhere = anywhere.get(&(port.port, port.protocol)).unwrap_or(&nowhere);
            let led_to = anywhere.all.iter();
            let led_to = led_to.map(|to| (to.ip(), protocol(port), to.port()));
            cluster.led_to.extend(led_to);
            let ways = here(plan, port).chain(elsewhere(cluster, plan, port, anywhere));
            let ways: Vec<_> = ways.collect();
            cluster.services.extend(ways);
        }
    }
}

/// Node ports that lead to pods from here.
pub(super) fn door_ports(services: &[Planned]) -> BTreeSet<(Protocol, u16)> {
    let ports = services.iter().flat_map(|(plan, _)| &plan.ports);
    let leading = ports.filter(|port| !port.outside_endpoints.is_empty());
    leading.filter_map(|port| Some((protocol(port), port.node_port?))).collect()
}

fn here<'a>(plan: &'a ServicePlan, port: &'a PortPlan) -> impl Iterator<Item = Service> + 'a {
    let inside = plan.ips.iter();
    let inside = inside.map(|ip| way(port, At::Address(*ip), port.port, &port.endpoints));
    let held = plan.outside.held.iter().map(|ip| At::Address(*ip)).map(move |at| (at, port.port));
    let outside = held.chain(port.node_port.map(|number| (At::NodesHere, number)));
    let outside = outside.map(move |(at, number)| way(port, at, number, &port.outside_endpoints));
    inside.chain(outside)
}

/// An external IP is looked at only where it is known to be another host's: who may write a Service could close any
/// address to others' pods.
fn elsewhere(
    cluster: &Cluster,
    plan: &ServicePlan,
    port: &PortPlan,
    anywhere: &Anywhere,
) -> Vec<Service> {
    let Outside { external_ips, held, .. } = &plan.outside;
    let external = external_ips.intersection(&cluster.nodes_elsewhere).copied();
    let external = external.filter(|ip| !held.contains(ip));
    let addresses = external.chain(balanced_elsewhere(&plan.outside)).map(At::Address);
    let all = addresses.map(|at| (at, port.port));
    let all = all.chain(port.node_port.map(|number| (At::NodesElsewhere, number)));
    all.map(|(at, number)| way(port, at, number, &anywhere.usable)).collect()
}

fn balanced_elsewhere(outside: &Outside) -> impl Iterator<Item = IpAddr> {
    outside.balancer_ips.difference(&outside.held).copied()
}

fn way(port: &PortPlan, at: At, number: u16, endpoints: &BTreeSet<SocketAddr>) -> Service {
    let is_led_to = |to: &&SocketAddr| match at {
        At::Address(address) => address.is_ipv4() == to.is_ipv4(),
        At::NodesHere | At::NodesElsewhere => true,
    };
    let endpoints = endpoints.iter().filter(is_led_to);
    let endpoints = endpoints.map(|to| (to.ip(), to.port())).collect();
    Service { at, protocol: protocol(port), port: number, endpoints }
}

fn protocol(port: &PortPlan) -> Protocol {
    match port.protocol {
        plan::Protocol::Tcp => Protocol::Tcp,
        plan::Protocol::Udp => Protocol::Udp,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::plan::Balancing;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));

    fn plan(outside: Outside, node_port: Option<u16>) -> ServicePlan {
        let port = PortPlan {
            port: 80,
            protocol: plan::Protocol::Tcp,
            endpoints: ["10.244.1.1:8080".parse().unwrap()].into(),
            node_port,
            outside_endpoints: ["10.244.1.2:8080".parse().unwrap()].into(),
        };
        ServicePlan {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
            ips: [[10, 96, 0, 7].into()].into(),
            affinity: None,
            balancing: Balancing::default(),
            kept: [].into(),
            outside,
            ports: vec![port],
        }
    }

    fn check(outside: Outside, node_port: Option<u16>, expected: &Expect) {
        let of = |socket: &str| -> BTreeSet<SocketAddr> { [socket.parse().unwrap()].into() };
        let anywhere = Anywhere { usable: of("10.244.2.1:8080"), all: of("10.244.2.9:8080") };
        let anywhere = [((80, plan::Protocol::Tcp), anywhere)].into();
        let mut cluster = Cluster { nodes_elsewhere: [ELSEWHERE].into(), ..Cluster::default() };
        note(&mut cluster, &[(plan(outside, node_port), anywhere)]);
        let mut shown: String = cluster.services.iter().map(|it| format!("{it:?}\n")).collect();
        shown += &format!("{:?}\n{:?}\n", cluster.led_to, cluster.nodes_elsewhere);
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_node_port_is_a_door_where_it_leads_somewhere() {
        let leading = plan(Outside::default(), Some(30007));
        let mut closed = plan(Outside::default(), Some(30008));
        closed.ports[0].outside_endpoints.clear();
        let services = [leading, closed, plan(Outside::default(), None)];
        let services = services.map(|plan| -> Planned { (plan, BTreeMap::new()) });
        assert_eq!(door_ports(&services), [(Protocol::Tcp, 30007)].into());
    }

    #[test]
    fn a_virtual_ip_leads_where_this_host_has_it_lead() {
        check(
            Outside::default(),
            None,
            &expect![[r#"
                Service { at: Address(10.96.0.7), protocol: Tcp, port: 80, endpoints: {(10.244.1.1, 8080)} }
                {(10.244.2.9, Tcp, 8080)}
                {192.0.2.8}
            "#]],
        );
    }

    #[test]
    fn a_node_port_is_at_this_host_and_at_others() {
        check(
            Outside::default(),
            Some(30007),
            &expect![[r#"
                Service { at: Address(10.96.0.7), protocol: Tcp, port: 80, endpoints: {(10.244.1.1, 8080)} }
                Service { at: NodesHere, protocol: Tcp, port: 30007, endpoints: {(10.244.1.2, 8080)} }
                Service { at: NodesElsewhere, protocol: Tcp, port: 30007, endpoints: {(10.244.2.1, 8080)} }
                {(10.244.2.9, Tcp, 8080)}
                {192.0.2.8}
            "#]],
        );
    }

    #[test]
    fn addresses_are_this_host_s_or_those_that_others_are_known_to_have() {
        let somebody_s = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
        let balanced = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
        check(
            Outside {
                external_ips: [HERE, ELSEWHERE, somebody_s].into(),
                balancer_ips: [balanced].into(),
                held: [HERE].into(),
                ..Outside::default()
            },
            None,
            &expect![[r#"
                Service { at: Address(10.96.0.7), protocol: Tcp, port: 80, endpoints: {(10.244.1.1, 8080)} }
                Service { at: Address(192.0.2.7), protocol: Tcp, port: 80, endpoints: {(10.244.1.2, 8080)} }
                Service { at: Address(192.0.2.8), protocol: Tcp, port: 80, endpoints: {(10.244.2.1, 8080)} }
                Service { at: Address(198.51.100.2), protocol: Tcp, port: 80, endpoints: {(10.244.2.1, 8080)} }
                {(10.244.2.9, Tcp, 8080)}
                {192.0.2.8, 198.51.100.2}
            "#]],
        );
    }
}
