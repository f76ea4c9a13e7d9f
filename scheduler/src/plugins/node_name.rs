//! A pod that names its node goes there or nowhere. Such pods are bound already and do not come by
//! the queue; the filter matters to whoever asks "would it fit?".

use super::{Plugin, Questions, Reason};
use crate::changes::Changes;
use crate::pod::{PodInfo, node_of};
use crate::snapshot::Snapshot;

pub(super) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        let Some(wanted) = node_of(&pod.pod) else { return Questions::default() };
        Questions::filter(move |node, against| {
            if node.name.as_str() != wanted {
                against.push(Reason::Plain("node(s) didn't match the requested node name"));
            }
        })
    }

    fn turned_by(&self) -> Changes {
        Changes::ADDED
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{check, node};
    use super::*;

    #[test]
    fn a_named_node_is_the_only_one() {
        let n1 = node(json!({"metadata": {"name": "n1"}}));
        check(&NodeName, json!({}), &n1, &[]);
        check(&NodeName, json!({"nodeName": "n1"}), &n1, &[]);
        let wrong = ["node(s) didn't match the requested node name"];
        check(&NodeName, json!({"nodeName": "n2"}), &n1, &wrong);
    }
}
