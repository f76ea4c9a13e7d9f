//! A cordoned node takes no new pods, except those that tolerate the taint which cordoning stands for.

use std::sync::LazyLock;

use api_machinery::toleration::toleration_of;
use api_types::api::core::v1::Taint;

use super::{Plugin, Questions, Reason};
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        if toleration_of(pod.tolerations(), &TAINT).is_some() {
            return Questions::default();
        }
        Questions::filter(|node, against| {
            if node.is_cordoned() {
                against.push(Reason::Plain("node(s) were unschedulable"));
            }
        })
    }

    fn turned_by(&self) -> Changes {
        Changes::ADDED | Changes::CORDON
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
