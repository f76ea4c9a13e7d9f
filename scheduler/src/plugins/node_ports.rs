//! Two pods cannot have the same port of one host.

use super::{Plugin, Questions, Reason};
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

const TAKEN: &str = "node(s) didn't have free ports for the requested pod ports";

pub(super) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        if pod.host_ports.is_empty() {
            return Questions::default();
        }
        Questions::filter(|node, against| {
            let taken = |wanted| node.host_ports().any(|port| port.conflicts_with(wanted));
            if pod.host_ports.iter().any(taken) {
                against.push(Reason::Plain(TAKEN));
            }
        })
    }

    fn turned_by(&self) -> Changes {
        Changes::ADDED | Changes::PORTS
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
        check(&NodePorts, wants(8080), &on, &[TAKEN]);
    }
}
