//! A pod that says nothing of nodes that are not ready, or silent, stays on them for 300 s (Kubernetes:
//! `plugin/pkg/admission/defaulttolerationseconds`).

use api_machinery::{ApiError, toleration::USUAL_SECONDS};
use api_types::api::core::v1::{Pod, Toleration};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const EFFECT: &str = "NoExecute";

/// See the module.
#[derive(Debug)]
pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        let object = object.filter(|_| writes && attributes.is_core("pods"));
        let pod = object.and_then(AnyObject::get_mut::<Pod>);
        if let Some(spec) = pod.and_then(|pod| pod.spec.as_mut()) {
            let said = spec.tolerations.clone().unwrap_or_default();
            let unsaid = TAINTS.into_iter().filter(|taint| !said.iter().any(|it| is_of(it, taint)));
            let unsaid: Vec<_> = unsaid.map(usual).collect();
            if !unsaid.is_empty() {
                spec.tolerations.get_or_insert_default().extend(unsaid);
            }
        }
        Ok(Vec::new())
    }
}

fn is_of(toleration: &Toleration, taint: &str) -> bool {
    let is = |said: &Option<String>, wanted: &str| {
        said.as_deref().is_none_or(|said| said.is_empty() || said == wanted)
    };
    is(&toleration.key, taint) && is(&toleration.effect, EFFECT)
}

fn usual(taint: &str) -> Toleration {
    Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some(EFFECT.to_owned()),
        toleration_seconds: Some(USUAL_SECONDS),
        ..Toleration::default()
    }
}
