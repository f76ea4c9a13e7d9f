//! Two pods cannot have the same port of one host.

use super::{Filter, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct NodePorts;

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn refuse(&self, pod: &PodInfo, node: &NodeInfo, against: &mut Vec<Reason>) {
        let taken = |wanted| node.host_ports().any(|port| port.conflicts_with(wanted));
        if !pod.host_ports.iter().any(taken) {
            return;
        }
        against.push(Reason::Plain("node(s) didn't have free ports for the requested pod ports"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{check, node, pod};
    use super::*;
    use crate::snapshot::Share;

    #[test]
    fn a_taken_port_refuses_the_node() {
        let wants = |port: i32| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port}]}]});
        let mut on = node(json!({"metadata": {"name": "n1"}}));
        let first = pod(wants(8080));
        on.place(first.uid.clone(), Share::from(&first));
        check(&NodePorts, json!({}), &on, &[]);
        check(&NodePorts, wants(8081), &on, &[]);
        let taken = ["node(s) didn't have free ports for the requested pod ports"];
        check(&NodePorts, wants(8080), &on, &taken);
    }
}
