//! A cordoned node takes no new pods, except those that tolerate the taint which cordoning stands for.

use std::sync::LazyLock;

use api_machinery::toleration::toleration_of;
use api_types::api::core::v1::Taint;

use super::{Filter, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn refuse(&self, pod: &PodInfo, node: &NodeInfo, against: &mut Vec<Reason>) {
        let spec = node.node.spec.as_ref();
        let cordoned = spec.and_then(|spec| spec.unschedulable).unwrap_or_default();
        let tolerations = pod.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
        if !cordoned || toleration_of(tolerations.unwrap_or_default(), &TAINT).is_some() {
            return;
        }
        against.push(Reason::Plain("node(s) were unschedulable"));
    }
}

static TAINT: LazyLock<Taint> = LazyLock::new(|| Taint {
    key: "node.kubernetes.io/unschedulable".to_owned(),
    effect: "NoSchedule".to_owned(),
    ..Taint::default()
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{check, node};
    use super::*;

    #[test]
    fn a_cordoned_node_takes_only_pods_that_tolerate_it() {
        let open = node(json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": false}}));
        let cordoned = node(json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}}));
        let tolerant = json!({"tolerations": [
            {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]});
        check(&NodeUnschedulable, json!({}), &open, &[]);
        check(&NodeUnschedulable, json!({}), &cordoned, &["node(s) were unschedulable"]);
        check(&NodeUnschedulable, tolerant, &cordoned, &[]);
    }
}
