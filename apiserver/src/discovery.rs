//! Discovery: the catalogue as clients read it, in the old form (a document per group version) and the new one
//! (all in one).

use registry::{ResourceDef, Scope, Subresource};
use serde_json::{Value, json};

use crate::{
    catalogue::Catalogue,
    config::Config,
    request::{self, Verb},
    tokens,
};

/// `/`: the paths there are.
pub(crate) fn paths(catalogue: &Catalogue) -> Value {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/prometheus/targets/apiservers",
        "/prometheus/targets/nodes",
        "/prometheus/targets/pods",
        tokens::KEYS_PATH,
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    paths.extend(catalogue.group_versions().into_iter().map(|(group, version)| match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }));
    paths.sort();
    json!({ "paths": paths })
}

/// `/api`
pub(crate) fn core_versions(config: &Config) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            { "clientCIDR": "0.0.0.0/0", "serverAddress": config.advertised().to_string() },
        ],
    })
}

/// `/apis`
pub(crate) fn groups(catalogue: &Catalogue) -> Value {
    let groups: Vec<Value> =
        group_names(catalogue).iter().filter_map(|name| api_group(catalogue, name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/<group>`
pub(crate) fn group(catalogue: &Catalogue, name: &str) -> Option<Value> {
    let mut group = api_group(catalogue, name)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

fn group_names(catalogue: &Catalogue) -> Vec<&str> {
    let mut names = Vec::new();
    for (group, _) in catalogue.group_versions() {
        if !group.is_empty() && !names.contains(&group) {
            names.push(group);
        }
    }
    names
}

fn api_group(catalogue: &Catalogue, name: &str) -> Option<Value> {
    let versions = catalogue.group_versions().into_iter().filter(|(g, _)| *g == name);
    let versions: Vec<Value> = versions
        .map(|(g, v)| json!({ "groupVersion": format!("{g}/{v}"), "version": v }))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({ "name": name, "versions": versions, "preferredVersion": preferred }))
}

/// `/api/v1`, `/apis/<group>/<version>`
pub(crate) fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Value {
    let mut resources: Vec<Value> = catalogue.of_group(group, version).flat_map(entries).collect();
    if group.is_empty() {
        resources.push(bindings());
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    })
}

fn entries(def: &std::sync::Arc<ResourceDef>) -> Vec<Value> {
    let names = &def.names;
    let mut entry = json!({
        "name": names.plural,
        "singularName": names.singular,
        "namespaced": def.scope == Scope::Namespaced,
        "kind": names.kind,
        "verbs": spelled(request::resource_verbs(def)),
    });
    add_nicknames(&mut entry, def);
    let mut entries = vec![entry];
    entries.extend(def.subresources.iter().map(|&sub| {
        let (group, version, kind) = response_kind(def, sub);
        let mut entry = json!({
            "name": format!("{}/{}", names.plural, sub.name()),
            "singularName": "",
            "namespaced": def.scope == Scope::Namespaced,
            "kind": kind,
            "verbs": spelled(request::verbs(sub)),
        });
        if (group, version) != (&*names.group, &*names.version) {
            entry["group"] = group.into();
            entry["version"] = version.into();
        }
        entry
    }));
    entries
}

/// The collection that bindings can be posted to, which has no objects.
fn bindings() -> Value {
    json!({
        "name": "bindings", "singularName": "binding", "namespaced": true, "kind": "Binding",
        "verbs": ["create"],
    })
}

/// `/api` and `/apis` in the aggregated form.
pub(crate) fn aggregated(catalogue: &Catalogue, core: bool) -> Value {
    let groups = if core { vec![""] } else { group_names(catalogue) };
    let items: Vec<Value> =
        groups.into_iter().map(|group| aggregated_group(catalogue, group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_group(catalogue: &Catalogue, group: &str) -> Value {
    let versions = catalogue.group_versions().into_iter().filter(|(g, _)| *g == group);
    let versions: Vec<Value> = versions
        .map(|(g, v)| {
            let mut resources: Vec<Value> =
                catalogue.of_group(g, v).map(|d| aggregated_resource(d)).collect();
            if g.is_empty() {
                resources.push(aggregated_bindings());
            }
            json!({ "version": v, "freshness": "Current", "resources": resources })
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(def: &ResourceDef) -> Value {
    let names = &def.names;
    let kind = |(group, version, kind): (&str, &str, &str)| json!({ "group": group, "version": version, "kind": kind });
    let subresources: Vec<Value> = def
        .subresources
        .iter()
        .map(|&sub| {
            json!({
                "subresource": sub.name(),
                "responseKind": kind(response_kind(def, sub)),
                "verbs": spelled(request::verbs(sub)),
            })
        })
        .collect();
    let mut resource = json!({
        "resource": names.plural,
        "responseKind": kind((&names.group, &names.version, &names.kind)),
        "scope": if def.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": names.singular,
        "verbs": spelled(request::resource_verbs(def)),
        "subresources": subresources,
    });
    add_nicknames(&mut resource, def);
    resource
}

/// As `bindings`.
fn aggregated_bindings() -> Value {
    json!({
        "resource": "bindings",
        "responseKind": { "group": "", "version": "v1", "kind": "Binding" },
        "scope": "Namespaced",
        "singularResource": "binding",
        "verbs": ["create"],
    })
}

fn add_nicknames(entry: &mut Value, def: &ResourceDef) {
    for (field, names) in
        [("shortNames", &def.names.short_names), ("categories", &def.names.categories)]
    {
        if !names.is_empty() {
            entry[field] = json!(names);
        }
    }
}

/// What a subresource answers with: the object itself, except where it has a kind of its own.
fn response_kind(def: &ResourceDef, subresource: Subresource) -> (&str, &str, &str) {
    let names = &def.names;
    match subresource {
        Subresource::Scale => ("autoscaling", "v1", "Scale"),
        Subresource::Binding => ("", "v1", "Binding"),
        Subresource::Token => ("authentication.k8s.io", "v1", "TokenRequest"),
        Subresource::Exec => ("", "v1", "PodExecOptions"),
        Subresource::Attach => ("", "v1", "PodAttachOptions"),
        Subresource::PortForward => ("", "v1", "PodPortForwardOptions"),
        Subresource::Proxy => ("", "v1", request::proxy_options(def)),
        Subresource::Status | Subresource::Log | Subresource::Finalize | Subresource::Approval => {
            (&names.group, &names.version, &names.kind)
        }
    }
}

fn spelled(verbs: &[Verb]) -> Vec<&'static str> {
    let mut verbs: Vec<_> = verbs.iter().map(|v| v.as_str()).collect();
    verbs.sort_unstable();
    verbs
}
