//! Pods and nodes of the simulation: what one asks for, what the other offers, and how that looks as an object.

use api_types::api::core::v1::{Node, Pod};
use proptest::prelude::{any, prop};
use proptest::strategy::Strategy;
use serde_json::json;

use super::ROOM;

/// What a pod asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PodShape {
    pub(super) zone: Option<bool>,
    pub(super) tolerates_taints: bool,
    pub(super) tolerates_cordons: bool,
    pub(super) wants_port: bool,
    pub(super) cpu: u8,
}

/// What a node offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeShape {
    pub(super) zone: bool,
    pub(super) tainted: bool,
    pub(super) cordoned: bool,
    pub(super) cpu: u8,
}

impl Default for NodeShape {
    fn default() -> Self {
        Self { zone: false, tainted: false, cordoned: false, cpu: 9 }
    }
}

pub(super) fn pod_shape() -> impl Strategy<Value = PodShape> {
    let zone = prop::option::weighted(0.4, any::<bool>());
    let shape = (zone, any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), 0..3_u8);
    shape.prop_map(|(zone, tolerates_taints, tolerates_cordons, wants_port, cpu)| PodShape {
        zone,
        tolerates_taints,
        tolerates_cordons,
        wants_port,
        cpu,
    })
}

pub(super) fn node_shape() -> impl Strategy<Value = NodeShape> {
    let rarely = || prop::bool::weighted(0.3);
    let shape = (any::<bool>(), rarely(), rarely(), 1..4_u8);
    shape.prop_map(|(zone, tainted, cordoned, cpu)| NodeShape { zone, tainted, cordoned, cpu })
}

impl PodShape {
    pub(super) fn pod(self, name: &str, uid: &str) -> Pod {
        let selector = self.zone.map(|zone| json!({"zone": zone.to_string()}));
        let tolerations = [
            self.tolerates_taints.then(|| json!({"key": "taint", "operator": "Exists"})),
            self.tolerates_cordons
                .then(|| json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"})),
        ];
        let ports = self.wants_port.then(|| json!({"containerPort": 80, "hostPort": 80}));
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name, "uid": uid},
            "spec": {
                "nodeSelector": selector,
                "tolerations": tolerations.into_iter().flatten().collect::<Vec<_>>(),
                "containers": [{
                    "name": "c",
                    "ports": ports.into_iter().collect::<Vec<_>>(),
                    "resources": {"requests": {"cpu": self.cpu.to_string()}},
                }],
            },
        }))
        .unwrap()
    }
}

impl NodeShape {
    pub(super) fn node(self, name: &str) -> Node {
        let taint = self.tainted.then(|| json!({"key": "taint", "effect": "NoSchedule"}));
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"zone": self.zone.to_string()}},
            "spec": {
                "unschedulable": self.cordoned,
                "taints": taint.into_iter().collect::<Vec<_>>(),
            },
            "status": {
                "allocatable": {"pods": ROOM.to_string(), "cpu": self.cpu.to_string()},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
        .unwrap()
    }
}
