//! A server's list of resources in the form of aggregated discovery (Kubernetes: `aggregator.ConvertAPIResourceListToDiscovery`).

use serde::Deserialize;
use serde_json::{Value, json};

/// What is read of an answer: clients break off at what has another type, and would miss the resources of all other
/// servers, too.
#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Answer {
    #[serde(rename = "APIResourceList")]
    List {
        // It has to be there; none at all are `null` in Go.
        #[serde(deserialize_with = "Option::deserialize")]
        resources: Option<Vec<Entry>>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    singular_name: Option<String>,
    namespaced: Option<bool>,
    group: Option<String>,
    version: Option<String>,
    kind: Option<String>,
    verbs: Option<Vec<String>>,
    short_names: Option<Vec<String>>,
    categories: Option<Vec<String>>,
}

/// What an `APIResourceList` says of a group version.
///
/// # Errors
/// If it is none.
pub(crate) fn resources(
    list: &[u8],
    group: &str,
    version: &str,
) -> Result<Vec<Value>, serde_json::Error> {
    let Answer::List { resources } = serde_json::from_slice(list)?;
    let all = resources.unwrap_or_default();
    let is_one = |entry: &&Entry| !entry.name.is_empty() && !entry.name.contains('/');
    let mut found: Vec<Value> =
        all.iter().filter(is_one).map(|entry| resource(entry, group, version)).collect();
    for entry in &all {
        let Some((parent, sub)) = entry.name.split_once('/') else { continue };
        let listed = found.iter_mut().find(|it| it["resource"] == parent);
        if let Some(parent) = listed {
            let sub = json!({
                "subresource": sub, "responseKind": kind(entry, group, version), "verbs": verbs(entry),
            });
            match parent["subresources"].as_array_mut() {
                Some(subs) => subs.push(sub),
                None => parent["subresources"] = json!([sub]),
            }
        }
    }
    Ok(found)
}

fn resource(entry: &Entry, group: &str, version: &str) -> Value {
    let mut resource = json!({
        "resource": entry.name,
        "responseKind": kind(entry, group, version),
        "scope": if entry.namespaced == Some(true) { "Namespaced" } else { "Cluster" },
        "singularResource": entry.singular_name.as_deref().unwrap_or_default(),
        "verbs": verbs(entry),
    });
    for (field, names) in [("shortNames", &entry.short_names), ("categories", &entry.categories)] {
        if let Some(names) = names {
            resource[field] = json!(names);
        }
    }
    resource
}

fn verbs(entry: &Entry) -> &[String] {
    entry.verbs.as_deref().unwrap_or_default()
}

fn kind(entry: &Entry, group: &str, version: &str) -> Value {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    json!({
        "group": given(&entry.group).unwrap_or_else(|| group.to_owned()),
        "version": given(&entry.version).unwrap_or_else(|| version.to_owned()),
        "kind": entry.kind.as_deref().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(list: &Value) -> Result<Vec<Value>, String> {
        let list = list.to_string();
        let found = super::resources(list.as_bytes(), "wardle.example.com", "v1");
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn subresources_are_below_their_resource() {
        let list = json!({"kind": "APIResourceList", "resources": [
            {"name": "flunders/status", "kind": "Flunder", "namespaced": true, "verbs": ["get"]},
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
             "shortNames": ["fl"], "verbs": ["create", "get"]},
            {"name": "flunders/scale", "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get"]},
            {"name": "others/status", "kind": "Other", "verbs": ["get"]},
        ]});
        let own = json!({"group": "wardle.example.com", "version": "v1", "kind": "Flunder"});
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        assert_eq!(
            resources(&list).unwrap(),
            [json!({
                "resource": "flunders", "singularResource": "flunder", "scope": "Namespaced",
                "responseKind": own, "shortNames": ["fl"], "verbs": ["create", "get"],
                "subresources": [
                    {"subresource": "status", "responseKind": own, "verbs": ["get"]},
                    {"subresource": "scale", "responseKind": scale, "verbs": ["get"]},
                ],
            })]
        );
    }

    #[test]
    fn what_clients_could_not_read_is_not_passed_on() {
        let list = |resources: Value| json!({"kind": "APIResourceList", "resources": resources});
        assert_eq!(resources(&list(Value::Null)), Ok(Vec::new()));
        let empty = json!({"name": "as", "kind": null, "singularName": null, "verbs": null, "shortNames": null});
        let found = resources(&list(json!([empty]))).unwrap();
        assert_eq!((&found[0]["verbs"], &found[0]["singularResource"]), (&json!([]), &json!("")));
        assert_eq!(found[0]["responseKind"]["kind"], "");
        for wrong in [
            json!({}),
            json!([]),
            json!({"resources": []}),
            json!({"kind": "APIResourceList"}),
            json!({"kind": "Status", "resources": []}),
            list(json!({})),
            list(json!([{"kind": "A"}])),
            list(json!([{"name": "as", "kind": 1}])),
            list(json!([{"name": "as", "verbs": "get"}])),
            list(json!([{"name": "as", "verbs": [null]}])),
            list(json!([{"name": "as", "namespaced": "yes"}])),
        ] {
            assert!(resources(&wrong).is_err(), "{wrong}");
        }
    }
}
