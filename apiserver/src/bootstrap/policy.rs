//! The roles and bindings that are there from the beginning, and are completed whenever the server starts, unless their
//! annotation says otherwise (Kubernetes: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, `pkg/registry/rbac/reconciliation`).

use api_machinery::ApiError;
use api_types::api::rbac::v1::{PolicyRule, Subject};
use futures::future::join_all;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{internal, node_authorizer, rbac, service::InProcess};

const TEXT: &str = include_str!("policy.yaml");
const PATH: &str = "/apis/rbac.authorization.k8s.io/v1";
/// Who sets it to `false` keeps the object as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

/// How often an object is tried that others write, too: servers that start at once complete the same ones.
const ATTEMPTS: usize = 8;

/// What is to be done of an object that is there.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Write(Value),
    /// What a binding refers to can't be changed.
    MakeAnew,
}

/// Makes what is missing, and completes what is there: all that can be, whatever becomes of the others.
///
/// # Errors
/// The first of those that were met.
pub(crate) async fn reconcile(api: &InProcess) -> Result<(), ApiError> {
    let wanted = wanted()?;
    // Bindings refer to roles.
    let (roles, bindings): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_role);
    let mut failures = Vec::new();
    for objects in [roles, bindings] {
        let done = join_all(objects.iter().map(|object| ensure(api, object))).await;
        failures.extend(done.into_iter().filter_map(Result::err));
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

fn is_role(object: &Value) -> bool {
    object["kind"] == "ClusterRole" || object["kind"] == "Role"
}

fn wanted() -> Result<Vec<Value>, ApiError> {
    let documents = serde_yaml::Deserializer::from_str(TEXT);
    let mut objects: Vec<Value> = documents
        .map(|document| Value::deserialize(document).map_err(ApiError::internal))
        .collect::<Result<_, _>>()?;
    objects.push(of_nodes());
    for object in &mut objects {
        object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        object["metadata"]["labels"][LABEL.0] = LABEL.1.into();
        object["metadata"]["annotations"] = json!({ AUTOUPDATE: "true" });
    }
    Ok(objects)
}

/// As with Kubernetes it is given to nobody: nodes have less, each for what is its own.
fn of_nodes() -> Value {
    let rules = node_authorizer::rules();
    json!({ "kind": "ClusterRole", "metadata": { "name": "system:node" }, "rules": rules })
}

/// Where objects of its kind are.
fn collection(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{PATH}/namespaces/{namespace}/{kind}s"),
        None => format!("{PATH}/{kind}s"),
    }
}

async fn ensure(api: &InProcess, wanted: &Value) -> Result<(), ApiError> {
    for _ in 1..ATTEMPTS {
        match attempt(api, wanted).await {
            Err(error) if error.code() == 409 => {}
            result => return result,
        }
    }
    attempt(api, wanted).await
}

async fn attempt(api: &InProcess, wanted: &Value) -> Result<(), ApiError> {
    let collection = collection(wanted);
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    let there = match internal::request(api, Method::GET, &path, &Value::Null).await {
        Err(error) if error.code() == 404 => {
            return internal::ensure(api, &collection, wanted).await;
        }
        result => result?,
    };
    match step(&there, wanted)? {
        Step::Nothing => Ok(()),
        Step::Write(object) => internal::request(api, Method::PUT, &path, &object).await.map(drop),
        Step::MakeAnew => {
            let metadata = &there["metadata"];
            let (uid, version) = (&metadata["uid"], &metadata["resourceVersion"]);
            let options = json!({ "preconditions": { "uid": uid, "resourceVersion": version } });
            match internal::request(api, Method::DELETE, &path, &options).await {
                Err(error) if error.code() != 404 => return Err(error),
                _ => {}
            }
            internal::request(api, Method::POST, &collection, wanted).await.map(drop)
        }
    }
}

/// Whoever wants to keep an object as it is says so on it.
fn step(there: &Value, wanted: &Value) -> Result<Step, ApiError> {
    if there["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Ok(Step::Nothing);
    }
    if there["roleRef"] != wanted["roleRef"] {
        return Ok(Step::MakeAnew);
    }
    Ok(completed(there, wanted)?.map_or(Step::Nothing, Step::Write))
}

/// The object with what it lacks; `None` if it lacks nothing.
fn completed(there: &Value, wanted: &Value) -> Result<Option<Value>, ApiError> {
    let mut object = there.clone();
    for part in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][part].as_object().into_iter().flatten() {
            object["metadata"][part][key] = value.clone();
        }
    }
    let more: Vec<Value> = if is_role(wanted) {
        let held: Vec<PolicyRule> = list(&there["rules"])?;
        let missing = rbac::missing(&held.iter().collect::<Vec<_>>(), &list(&wanted["rules"])?);
        missing.into_iter().map(|rule| json!(rule)).collect()
    } else {
        let held: Vec<Subject> = list(&there["subjects"])?;
        let wanted: Vec<Subject> = list(&wanted["subjects"])?;
        wanted.into_iter().filter(|it| !held.contains(it)).map(|it| json!(it)).collect()
    };
    let field = if is_role(wanted) { "rules" } else { "subjects" };
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
        assert_eq!(step(&kept, &wanted).unwrap(), Step::Nothing);
    }

    #[test]
    fn a_binding_that_leads_elsewhere_is_made_anew() {
        let binding = |role: &str, autoupdate: &str| {
            json!({
                "kind": "ClusterRoleBinding", "subjects": [],
                "metadata": {"name": "x", "annotations": {AUTOUPDATE: autoupdate}},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            })
        };
        let wanted = binding("wanted", "true");
        let of = |there: Value| step(&there, &wanted).unwrap();
        assert_eq!(of(binding("other", "true")), Step::MakeAnew);
        assert_eq!(of(binding("other", "false")), Step::Nothing);
        assert_eq!(of(wanted.clone()), Step::Nothing);
    }

    /// A host is the whole cluster's, and not a namespace's.
    #[test]
    fn who_edits_a_namespace_may_read_its_dns_objects_alone() {
        let all = wanted().unwrap();
        let of_people = all.iter().filter(|object| {
            object["metadata"]["labels"].as_object().is_some_and(|labels| {
                labels.keys().any(|key| key.starts_with("rbac.authorization.k8s.io/aggregate-to"))
            })
        });
        let rules = of_people.filter_map(|object| object["rules"].as_array()).flatten();
        let names = |rule: &&Value| {
            rule["resources"].as_array().is_some_and(|it| it.contains(&json!("dnses")))
        };
        let verbs: Vec<_> = rules.filter(names).map(|rule| rule["verbs"].clone()).collect();
        assert_eq!(verbs, [json!(["get", "list", "watch"])]);
    }

    /// A line of `rights.txt`: a role, and a rule that it has with Kubernetes.
    fn right(line: &str) -> (&str, PolicyRule) {
        let words: Vec<&str> = line.split(' ').collect();
        let [role, group, what, name, verbs] = words[..] else { panic!("{line}") };
        let list = |words: &str| words.split(',').map(str::to_owned).collect::<Vec<_>>();
        let verbs = list(verbs);
        if group == "path" {
            return (
                role,
                PolicyRule { non_resource_urls: Some(list(what)), verbs, ..PolicyRule::default() },
            );
        }
        let groups = vec![if group == "core" { String::new() } else { group.to_owned() }];
        let names = (name != "-").then(|| list(name));
        let (api_groups, resources) = (Some(groups), Some(list(what)));
        let rule = PolicyRule {
            api_groups,
            resources,
            resource_names: names,
            verbs,
            ..PolicyRule::default()
        };
        (role, rule)
    }

    #[test]
    fn roles_give_what_they_give_with_kubernetes() {
        let all = wanted().unwrap();
        let lines = include_str!("rights.txt").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let (name, right) = right(line);
            let role = all.iter().find(|it| is_role(it) && it["metadata"]["name"] == name);
            let role = role.unwrap_or_else(|| panic!("no role {name}"));
            let held: Vec<PolicyRule> = list(&role["rules"]).unwrap();
            let missing = rbac::missing(&held.iter().collect::<Vec<_>>(), &[right]);
            assert!(missing.is_empty(), "{name} lacks {missing:?}");
        }
    }

    #[test]
    fn a_role_of_others_is_not_told_its_rules() {
        for object in wanted().unwrap() {
            let is_whole = object.get("aggregationRule").is_some()
                || object.get("rules").is_some()
                || object.get("roleRef").is_some();
            assert!(is_whole, "{object}");
        }
    }
}
