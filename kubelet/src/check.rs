//! `kubelet check`: tells how the network of this node's pods differs from what the API server says of them, and changes
//! nothing. What should be there is said by the network that would make it.

use anyhow::{Context, bail};
use api_types::api::core::v1::{Node, Pod};
use component::{
    check::{Difference, report},
    dual_stack::DualStack,
};
use kube::{Api, Client, api::ListParams};

use crate::{
    addresses::PodAddresses,
    network::{Expected, NodeNetwork, PortMapping},
    node::registration::pod_cidrs,
    options::Options,
    pod::{host_ports, status},
    rims,
    runtime::{Container, Runtime},
    spec,
};

/// Prints the differences; an error if there are any.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let node = rims::node_name(options)?;
    let client = component::client(&options.client).await?;
    let cidr = pod_cidr(client.clone(), &node).await?;
    let of_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client).list(&of_node).await;
    let pods = pods.context("cannot list the pods of this node")?.items;
    let containers = rims::runtime(options, &node)?.list(None).await;
    let containers = containers.context("cannot look at the containers")?;

    let all = pods.iter().map(|pod| spec::identity(pod).uid).collect();
    let (running, mut found) = expected(&pods, &containers, options.publish_ports);
    let unsettled = unsettled(&pods, options.publish_ports);
    let network = rims::network(options, &node)?;
    found.extend(network.differences(&NodeNetwork { cidr, running, unsettled, all }).await?);
    report(options.output, &node, &found)
}

async fn pod_cidr(client: Client, node: &str) -> anyhow::Result<DualStack> {
    let found = Api::<Node>::all(client).get(node).await;
    let found = found.with_context(|| format!("cannot read node {node}"))?;
    match found.spec.as_ref().and_then(pod_cidrs) {
        Some(cidr) => Ok(cidr.parse()?),
        None => bail!("node {node} has no pod CIDR yet"),
    }
}

/// The pods that are to be connected, in the order of their uids; and those of which nothing is there that could be.
fn expected(
    pods: &[Pod],
    containers: &[Container],
    publish_all: bool,
) -> (Vec<Expected>, Vec<Difference>) {
    let (mut running, mut differences) = (Vec::new(), Vec::new());
    for pod in pods.iter().filter(|pod| is_connected(pod)) {
        let identity = spec::identity(pod);
        let Some(addresses) = addresses(pod) else { continue };
        let label = format!("{}/{}", identity.namespace, identity.name);
        let sandbox = containers.iter().find(|container| {
            container.is_sandbox() && container.is_running() && container.pod.uid == identity.uid
        });
        match sandbox.and_then(|sandbox| sandbox.pid) {
            Some(pid) => running.push(Expected {
                ports: host_ports::published(pod, addresses, publish_all),
                pod: identity.uid,
                label,
                addresses,
                pid,
            }),
            None => differences
                .push(Difference::new("sandbox", format!("the sandbox of {label} does not run"))),
        }
    }
    running.sort_by(|one, other| one.pod.cmp(&other.pod));
    (running, differences)
}

/// The ports of pods that come or go.
fn unsettled(pods: &[Pod], publish_all: bool) -> Vec<PortMapping> {
    let settled = |pod: &&Pod| is_connected(pod) && addresses(pod).is_some();
    let others = pods.iter().filter(|pod| !spec::host_network(pod) && !settled(pod));
    let ports = |pod| host_ports::host_ports(pod, addresses(pod), publish_all);
    others.flat_map(ports).collect()
}

/// As its status tells them.
fn addresses(pod: &Pod) -> Option<PodAddresses> {
    let status = pod.status.as_ref()?;
    let v4 = status.pod_ip.as_deref()?.parse().ok()?;
    let v6 = status.pod_ips.iter().flatten().find_map(|told| told.ip.parse().ok());
    Some(PodAddresses { v4, v6 })
}

/// One that comes or goes is connected or not.
fn is_connected(pod: &Pod) -> bool {
    !spec::host_network(pod)
        && pod.metadata.deletion_timestamp.is_none()
        && status::reported_end(pod).is_none()
}

#[cfg(test)]
mod tests {
    use api_types::jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::{PodIdentity, Resources, State, labels::SANDBOX_NAME};

    fn pod(uid: &str, more: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": uid, "namespace": "default", "uid": uid},
            "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": "10.244.1.2"},
        });
        for (part, fields) in more.as_object().unwrap() {
            let part = pod[part].as_object_mut().unwrap();
            part.extend(fields.as_object().unwrap().clone());
        }
        serde_json::from_value(pod).unwrap()
    }

    fn sandbox(uid: &str, pid: Option<i32>) -> Container {
        Container {
            id: format!("sandbox-{uid}"),
            pod: PodIdentity { uid: uid.to_owned(), ..PodIdentity::default() },
            name: SANDBOX_NAME.to_owned(),
            attempt: 0,
            hash: String::new(),
            sandbox_id: String::new(),
            addresses: None,
            image: String::new(),
            image_id: String::new(),
            state: match pid {
                Some(_) => State::Running { started_at: Timestamp::UNIX_EPOCH },
                None => State::Created,
            },
            pid,
            stop_signal: String::new(),
            resources: Resources::default(),
        }
    }

    #[test]
    fn pods_that_neither_come_nor_go_are_connected_by_a_sandbox_that_runs() {
        let pods = [
            pod("b", &json!({})),
            pod("a", &json!({})),
            pod("dead", &json!({})),
            pod("host", &json!({"spec": {"hostNetwork": true}})),
            pod("early", &json!({"status": {"podIP": null}})),
            pod("going", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            pod("ended", &json!({"status": {"phase": "Succeeded"}})),
        ];
        let sandboxes = [sandbox("a", Some(7)), sandbox("b", Some(8)), sandbox("dead", None)];
        let (running, differences) = expected(&pods, &sandboxes, false);
        let found: Vec<_> = running.iter().map(|pod| (pod.label.as_str(), pod.pid)).collect();
        assert_eq!(found, [("default/a", 7), ("default/b", 8)]);
        assert_eq!(running[0].ports[0].host_port, 8080);
        let dead = Difference::new("sandbox", "the sandbox of default/dead does not run");
        assert_eq!(differences, [dead]);
        let unsettled: Vec<_> =
            unsettled(&pods, false).iter().map(|port| port.pod_ip.to_string()).collect();
        let early = ["0.0.0.0", "::"];
        assert_eq!(unsettled[..2], early);
        assert_eq!(unsettled[2..], ["10.244.1.2", "10.244.1.2"], "going and ended");
    }

    #[test]
    fn a_pod_has_the_address_of_ipv6_that_its_status_tells() {
        let check = |ips: Value, expected: Option<&str>| {
            let pod = pod("a", &json!({"status": {"podIPs": ips}}));
            let v6 = addresses(&pod).unwrap().v6;
            assert_eq!(v6.map(|ip| ip.to_string()).as_deref(), expected);
        };
        check(json!([{"ip": "10.244.1.2"}, {"ip": "fd00::2"}]), Some("fd00::2"));
        check(json!([{"ip": "10.244.1.2"}]), None);
        check(Value::Null, None);
    }
}
