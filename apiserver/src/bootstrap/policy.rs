//! The roles and bindings that are there from the beginning, and are completed whenever the server starts, unless their
//! annotation says otherwise (Kubernetes: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, `pkg/registry/rbac/reconciliation`).

use api_machinery::ApiError;
use api_types::api::rbac::v1::{PolicyRule, Subject};
use futures::future::try_join_all;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{internal, rbac, service::InProcess};

const TEXT: &str = include_str!("policy.yaml");
const PATH: &str = "/apis/rbac.authorization.k8s.io/v1";
/// Who sets it to `false` keeps the object as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

/// Makes what is missing, and completes what is there.
pub(crate) async fn reconcile(api: &InProcess) -> Result<(), ApiError> {
    let wanted = wanted()?;
    // Bindings refer to roles.
    let is_role = |(plural, _): &(&str, Value)| *plural == "clusterroles";
    let (roles, bindings): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_role);
    for objects in [roles, bindings] {
        try_join_all(objects.iter().map(|(plural, object)| ensure(api, plural, object))).await?;
    }
    Ok(())
}

/// Each object with its plural.
fn wanted() -> Result<Vec<(&'static str, Value)>, ApiError> {
    let documents = serde_yaml::Deserializer::from_str(TEXT);
    let objects = documents.map(|document| {
        let mut object = Value::deserialize(document).map_err(ApiError::internal)?;
        let plural =
            if object["kind"] == "ClusterRole" { "clusterroles" } else { "clusterrolebindings" };
        object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        object["metadata"]["labels"][LABEL.0] = LABEL.1.into();
        object["metadata"]["annotations"] = json!({ AUTOUPDATE: "true" });
        Ok((plural, object))
    });
    objects.collect()
}

async fn ensure(api: &InProcess, plural: &str, wanted: &Value) -> Result<(), ApiError> {
    let collection = format!("{PATH}/{plural}");
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    let there = match internal::request(api, Method::GET, &path, &Value::Null).await {
        Err(error) if error.code() == 404 => {
            return internal::ensure(api, &collection, wanted).await;
        }
        result => result?,
    };
    match completed(&there, wanted)? {
        Some(object) => internal::request(api, Method::PUT, &path, &object).await.map(drop),
        None => Ok(()),
    }
}

/// The object with what it lacks; `None` if it lacks nothing, or is not to be changed.
fn completed(there: &Value, wanted: &Value) -> Result<Option<Value>, ApiError> {
    if there["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Ok(None);
    }
    let mut object = there.clone();
    for part in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][part].as_object().into_iter().flatten() {
            object["metadata"][part][key] = value.clone();
        }
    }
    let more: Vec<Value> = if wanted["kind"] == "ClusterRole" {
        let held: Vec<PolicyRule> = list(&there["rules"])?;
        let missing = rbac::missing(&held.iter().collect::<Vec<_>>(), &list(&wanted["rules"])?);
        missing.into_iter().map(|rule| json!(rule)).collect()
    } else {
        let held: Vec<Subject> = list(&there["subjects"])?;
        let wanted: Vec<Subject> = list(&wanted["subjects"])?;
        wanted.into_iter().filter(|it| !held.contains(it)).map(|it| json!(it)).collect()
    };
    let field = if wanted["kind"] == "ClusterRole" { "rules" } else { "subjects" };
    if !more.is_empty() {
        let mut all: Vec<Value> = list(&there[field])?;
        all.extend(more);
        object[field] = all.into();
    }
    Ok((object != *there).then_some(object))
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Result<Vec<T>, ApiError> {
    let list = Option::<Vec<T>>::deserialize(value).map_err(ApiError::internal)?;
    Ok(list.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_away_comes_back_and_what_was_added_stays() {
        let rule = |verb: &str| json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
        let role = |rules: Value| json!({"kind": "ClusterRole", "metadata": {"name": "x"}, "rules": rules});
        let wanted = role(json!([rule("get"), rule("list")]));
        let found = completed(&role(json!([rule("delete"), rule("get")])), &wanted).unwrap();
        let expected = json!([rule("delete"), rule("get"), rule("list")]);
        assert_eq!(found.unwrap()["rules"], expected);
        assert_eq!(completed(&wanted, &wanted).unwrap(), None);
        let mut kept = role(Value::Null);
        kept["metadata"]["annotations"] = json!({AUTOUPDATE: "false"});
        assert_eq!(completed(&kept, &wanted).unwrap(), None);
    }

    /// A host is the whole cluster's, and not a namespace's.
    #[test]
    fn who_edits_a_namespace_may_read_its_dns_objects_alone() {
        let all = wanted().unwrap();
        let rules = all.iter().filter_map(|(_, object)| object["rules"].as_array()).flatten();
        let names = |rule: &&Value| {
            rule["resources"].as_array().is_some_and(|it| it.contains(&json!("dnses")))
        };
        let verbs: Vec<_> = rules.filter(names).map(|rule| rule["verbs"].clone()).collect();
        assert_eq!(verbs, [json!(["get", "list", "watch"])]);
    }

    #[test]
    fn a_role_of_others_is_not_told_its_rules() {
        for (_, object) in wanted().unwrap() {
            let is_whole = object.get("aggregationRule").is_some()
                || object.get("rules").is_some()
                || object.get("roleRef").is_some();
            assert!(is_whole, "{object}");
        }
    }
}
