//! Discovery: the catalogue as clients read it, in the old form (a document per group version) and the new one
//! (all in one).

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use registry::{Names, ResourceDef, Scope, Subresource};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::{
    catalogue::Catalogue,
    config::Config,
    delegates::{Delegate, Delegates, Table, priority, version_order},
    request::{self, Verb},
    tokens,
};

/// What this server serves, and what others do.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    catalogue: &'a Catalogue,
    delegates: &'a Delegates,
    table: Arc<Table>,
}

/// A group version, and who serves it if this server doesn't.
#[derive(Clone, Copy, Debug)]
struct GroupVersion<'a> {
    group: &'a str,
    version: &'a str,
    priority: (i32, i32),
    delegate: Option<&'a Arc<Delegate>>,
}

impl<'a> Served<'a> {
    pub(crate) fn new(catalogue: &'a Catalogue, delegates: &'a Delegates) -> Self {
        Self { catalogue, delegates, table: delegates.all() }
    }

    /// In the order of their priorities: groups by the most that one of their versions says.
    fn group_versions(&self) -> Vec<GroupVersion<'_>> {
        let of_others = self.table.iter().map(|it| GroupVersion {
            group: &it.group,
            version: &it.version,
            priority: it.priority,
            delegate: Some(it),
        });
        let is_own = |(group, version): &(&str, &str)| {
            !self.table.iter().any(|it| it.group == *group && it.version == *version)
        };
        let own = self.catalogue.group_versions().into_iter().filter(is_own);
        let own = own.map(|(group, version)| GroupVersion {
            group,
            version,
            priority: priority(group, version),
            delegate: None,
        });
        let mut all: Vec<_> = own.chain(of_others).collect();
        let mut groups = HashMap::<&str, i32>::new();
        for it in &all {
            let most = groups.entry(it.group).or_insert(it.priority.0);
            *most = it.priority.0.max(*most);
        }
        all.sort_by_cached_key(|it| {
            let version = version_order(it.version, it.priority.1);
            (Reverse(groups[it.group]), it.group.to_owned(), version)
        });
        all
    }

    fn versions_of(&self, group: &str) -> Vec<GroupVersion<'_>> {
        let mut versions = self.group_versions();
        versions.retain(|it| it.group == group);
        versions
    }
}

/// `/`: the paths there are.
pub(crate) fn paths(served: &Served<'_>) -> Value {
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
    paths.extend(served.group_versions().into_iter().map(|it| match it.group {
        "" => format!("/api/{}", it.version),
        group => format!("/apis/{group}/{}", it.version),
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
pub(crate) fn groups(served: &Served<'_>) -> Value {
    let groups: Vec<Value> =
        group_names(served).iter().filter_map(|name| api_group(served, name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/<group>`
pub(crate) fn group(served: &Served<'_>, name: &str) -> Option<Value> {
    let mut group = api_group(served, name)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

fn group_names(served: &Served<'_>) -> Vec<String> {
    let groups = served.group_versions().into_iter().map(|it| it.group.to_owned());
    let mut names: Vec<String> = groups.filter(|group| !group.is_empty()).collect();
    // Those of a group are side by side.
    names.dedup();
    names
}

fn api_group(served: &Served<'_>, name: &str) -> Option<Value> {
    let versions: Vec<Value> = served
        .versions_of(name)
        .iter()
        .map(
            |it| json!({ "groupVersion": format!("{name}/{}", it.version), "version": it.version }),
        )
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({ "name": name, "versions": versions, "preferredVersion": preferred }))
}

/// `/api/v1`, `/apis/<group>/<version>`
pub(crate) fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Value {
    let mut resources: Vec<Value> =
        catalogue.of_group(group, version).flat_map(|def| entries(catalogue, def)).collect();
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

fn entries(catalogue: &Catalogue, def: &ResourceDef) -> Vec<Value> {
    let names = &def.names;
    let mut entry = json!({
        "name": names.plural,
        "singularName": names.singular,
        "namespaced": def.scope == Scope::Namespaced,
        "kind": names.kind,
        "verbs": spelled(request::resource_verbs(def)),
    });
    add_nicknames(&mut entry, def);
    if let Some(stored) = catalogue.iter().find(|it| it.is_stored() && it.is_of_one_kind(def)) {
        entry["storageVersionHash"] = storage_version_hash(&stored.names).into();
    }
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

/// Tells clients when a kind begins to be stored in another version (Kubernetes: `discovery.StorageVersionHash`).
fn storage_version_hash(Names { group, version, kind, .. }: &Names) -> String {
    let hash = digest(&SHA256, format!("{group}/{version}/{kind}").as_bytes());
    BASE64.encode(&hash.as_ref()[..8])
}

/// The collection that bindings can be posted to, which has no objects.
fn bindings() -> Value {
    json!({
        "name": "bindings", "singularName": "binding", "namespaced": true, "kind": "Binding",
        "verbs": ["create"],
    })
}

/// `/api` and `/apis` in the aggregated form.
pub(crate) fn aggregated(served: &Served<'_>, core: bool) -> Value {
    let groups = if core { vec![String::new()] } else { group_names(served) };
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(served, group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_group(served: &Served<'_>, group: &str) -> Value {
    let versions = served.versions_of(group);
    let versions: Vec<Value> = versions.iter().map(|it| aggregated_version(served, it)).collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_version(served: &Served<'_>, it: &GroupVersion<'_>) -> Value {
    if let Some(delegate) = it.delegate {
        let told = served.delegates.told(&delegate.name);
        let is_told = told.as_ref().is_some_and(|told| told.is_current);
        let is_current = delegate.is_available && is_told;
        let resources = told.map(|told| told.resources.clone()).unwrap_or_default();
        let freshness = if is_current { "Current" } else { "Stale" };
        return json!({ "version": it.version, "freshness": freshness, "resources": resources });
    }
    let own = served.catalogue.of_group(it.group, it.version);
    let mut resources: Vec<Value> = own.map(|def| aggregated_resource(def)).collect();
    if it.group.is_empty() {
        resources.push(aggregated_bindings());
    }
    json!({ "version": it.version, "freshness": "Current", "resources": resources })
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
        Subresource::Eviction => ("policy", "v1", "Eviction"),
        Subresource::Token => ("authentication.k8s.io", "v1", "TokenRequest"),
        Subresource::Exec => ("", "v1", "PodExecOptions"),
        Subresource::Attach => ("", "v1", "PodAttachOptions"),
        Subresource::PortForward => ("", "v1", "PodPortForwardOptions"),
        Subresource::Proxy => ("", "v1", request::proxy_options(def)),
        Subresource::Status
        | Subresource::Log
        | Subresource::Finalize
        | Subresource::Approval
        | Subresource::EphemeralContainers
        | Subresource::Resize => (&names.group, &names.version, &names.kind),
    }
}

fn spelled(verbs: &[Verb]) -> Vec<&'static str> {
    let mut verbs: Vec<_> = verbs.iter().map(|v| v.as_str()).collect();
    verbs.sort_unstable();
    verbs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_stored_has_kubernetes_hash() {
        let catalogue = Catalogue::built_in();
        let hash = |group: &str, version: &str, plural: &str| -> Value {
            let def = catalogue.find(group, version, plural).unwrap();
            entries(&catalogue, def)[0]["storageVersionHash"].clone()
        };
        assert_eq!(hash("", "v1", "pods"), "xPOwRZ+Yhw8=");
        assert_eq!(hash("events.k8s.io", "v1", "events"), hash("", "v1", "events"));
        let autoscalers = |version| hash("autoscaling", version, "horizontalpodautoscalers");
        assert_eq!(autoscalers("v1"), autoscalers("v2"));
        assert_eq!(hash("metrics.k8s.io", "v1beta1", "pods"), Value::Null);
    }
}
