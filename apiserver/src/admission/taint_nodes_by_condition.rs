//! A new node takes no pods until the node controller has found it ready (Kubernetes: `plugin/pkg/admission/nodetaint`).

use api_machinery::ApiError;
use api_types::api::core::v1::{Node, Taint};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};

const NOT_READY: (&str, &str) = ("node.kubernetes.io/not-ready", "NoSchedule");

/// See the module.
#[derive(Debug)]
pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.is_core("nodes");
        if let Some(node) = object.filter(|_| is_new).and_then(AnyObject::get_mut::<Node>) {
            let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
            if !taints.iter().any(|it| (it.key.as_str(), it.effect.as_str()) == NOT_READY) {
                let (key, effect) = (NOT_READY.0.to_owned(), NOT_READY.1.to_owned());
                taints.push(Taint { key, effect, ..Taint::default() });
            }
        }
        Ok(Vec::new())
    }
}
