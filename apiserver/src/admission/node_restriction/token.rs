//! A node has tokens of its own pods, for those whom these are to show them to.

use api_machinery::ApiError;
use api_types::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::Pod,
};

use super::{
    NodeRestriction,
    why::{Why, ensure},
};
use crate::{
    admission::Attributes,
    rbac::{Action, Asked, Decision},
};

/// Who may do this with the audience as a resource has tokens for it, whatever the pods say.
const VERB: &str = "request-serviceaccounts-token-audience";

impl NodeRestriction {
    /// # Errors
    /// If it can't be found out. Within: why the node may not have it.
    pub(super) async fn token(
        &self,
        node: &str,
        attributes: &Attributes<'_>,
        request: &TokenRequest,
    ) -> Result<Result<(), Why>, ApiError> {
        let spec = request.spec.clone().unwrap_or_default();
        let name = match bound_pod(&spec) {
            Ok(name) => name,
            Err(why) => return Ok(Err(why)),
        };
        // The cache may not know yet that another has its name by now.
        let pod: Option<Pod> = self.objects().stored("pods", attributes.at.namespace, name).await?;
        let Some(pod) = pod else { return Err(ApiError::not_found("", "pods", name)) };
        Ok(check(node, &spec, &pod).and_then(|()| self.check_audience(attributes, &spec, &pod)))
    }

    fn check_audience(
        &self,
        attributes: &Attributes<'_>,
        spec: &TokenRequestSpec,
        pod: &Pod,
    ) -> Result<(), Why> {
        let audience = match spec.audiences.as_deref().unwrap_or_default() {
            // What was not said has been completed by now.
            own if own == self.audiences => "",
            [] => "",
            [audience] => audience,
            _ => return Err("node may only request 0 or 1 audiences".to_owned()),
        };
        let (at, user) = (attributes.at, &attributes.identity.user);
        let (namespace, name) = (at.namespace, at.name);
        let action =
            Action { verb: VERB, resource: audience, namespace, name, ..Action::default() };
        let may = || {
            let decision = self.authorizer.decide(attributes.identity, Asked::Resource(action));
            matches!(decision, Decision::Allowed(_))
        };
        ensure(shows_to(pod, audience) || may(), || {
            format!(
                "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
            )
        })
    }
}

fn bound_pod(spec: &TokenRequestSpec) -> Result<&str, Why> {
    let unbound = || "node requested token not bound to a pod".to_owned();
    let reference = spec.bound_object_ref.as_ref().ok_or_else(unbound)?;
    let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
    let is_pod =
        (text(&reference.api_version), text(&reference.kind)) == ("v1".into(), "Pod".into());
    let name = reference.name.as_deref().filter(|name| is_pod && !name.is_empty());
    let name = name.ok_or_else(unbound)?;
    ensure(!text(&reference.uid).is_empty(), || {
        "node requested token with a pod binding without a uid".to_owned()
    })?;
    Ok(name)
}

fn check(node: &str, spec: &TokenRequestSpec, pod: &Pod) -> Result<(), Why> {
    let meant = spec.bound_object_ref.as_ref().and_then(|it| it.uid.as_deref()).unwrap_or_default();
    ensure(pod.metadata.uid.as_deref() == Some(meant), || {
        format!(
            "the UID in the bound object reference ({meant}) does not match the UID in record. The object might have been deleted and then recreated"
        )
    })?;
    let place = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    ensure(place == Some(node), || {
        "node requested token bound to a pod scheduled on a different node".to_owned()
    })
}

/// Whether one of the pod's volumes is to have such a token; for the API server, if the audience is empty.
fn shows_to(pod: &Pod, audience: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources =
        volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    let mut tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    tokens.any(|token| token.audience.as_deref().unwrap_or_default() == audience)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(bound: &Value) -> TokenRequestSpec {
        serde_json::from_value(json!({"audiences": [], "boundObjectRef": bound})).unwrap()
    }

    fn pod(node: &str) -> Pod {
        let token = json!({"serviceAccountToken": {"path": "t", "audience": "vault"}});
        let volumes = json!([{"name": "v", "projected": {"sources": [token]}}]);
        let spec = json!({"nodeName": node, "containers": [], "volumes": volumes});
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn a_token_is_bound_to_a_pod_of_the_node() {
        let bound =
            |kind, name, uid| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
        let of_pod = spec(&bound("Pod", "p", "u"));
        assert_eq!(bound_pod(&of_pod), Ok("p"));
        let unbound = Err("node requested token not bound to a pod".to_owned());
        assert_eq!(bound_pod(&spec(&Value::Null)), unbound);
        assert_eq!(bound_pod(&spec(&bound("Secret", "p", "u"))), unbound);
        assert_eq!(bound_pod(&spec(&bound("Pod", "", "u"))), unbound);
        let why = "node requested token with a pod binding without a uid";
        assert_eq!(bound_pod(&spec(&bound("Pod", "p", ""))), Err(why.to_owned()));
        assert_eq!(check("n1", &of_pod, &pod("n1")), Ok(()));
        let why = "node requested token bound to a pod scheduled on a different node";
        assert_eq!(check("n1", &of_pod, &pod("n2")), Err(why.to_owned()));
        let other = check("n1", &spec(&bound("Pod", "p", "v")), &pod("n1")).unwrap_err();
        assert!(other.contains("does not match the UID in record"), "{other}");
    }

    #[test]
    fn a_token_is_for_whom_a_volume_of_the_pod_names() {
        assert!(shows_to(&pod("n1"), "vault"));
        assert!(!shows_to(&pod("n1"), "other") && !shows_to(&pod("n1"), ""));
    }
}
