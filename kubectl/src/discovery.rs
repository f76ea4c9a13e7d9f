//! Which kinds the server serves, asked of the server in two requests (aggregated discovery), and the
//! mapping from what people type (`po`, `deploy.apps`, `pod/x`) or write (`kind: Pod`) to them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Failure,
    api::{Api, Call, escape},
    dialect,
    object::{list, text},
};

/// The groups of client-go's scheme. Others under `k8s.io` (gateway.networking.k8s.io, snapshot.storage.k8s.io) are
/// those of CustomResourceDefinitions.
const KUBERNETES_GROUPS: [&str; 21] = [
    "",
    "admissionregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Aggregated discovery; a server without it answers with the legacy form.
const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A kind as the server describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiResource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, e.g. `v1`.
    pub version: String,
    /// The kind, e.g. `Pod`.
    pub kind: String,
    /// The name in paths, e.g. `pods`.
    pub plural: String,
    /// What one of them is called, e.g. `pod`.
    pub singular: String,
    /// Abbreviations, e.g. `po`.
    pub short_names: Vec<String>,
    /// Groups of kinds it is part of, e.g. `all`.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// Its subresources, e.g. `status`.
    pub subresources: Vec<String>,
}

impl ApiResource {
    /// `apps/v1`, or `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `replicasets.apps`, or `pods` for the core group.
    #[must_use]
    pub fn qualified(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// `replicaset.apps/name`, as commands report on an object.
    #[must_use]
    pub fn object_name(&self, name: &str) -> String {
        format!("{}/{name}", self.object_prefix())
    }

    /// `replicaset.apps`, or `pod` for the core group.
    #[must_use]
    pub fn object_prefix(&self) -> String {
        qualify(&self.kind.to_lowercase(), &self.group)
    }

    /// The path of the collection; of all namespaces if `namespace` is `None`.
    #[must_use]
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!(
                "{root}/{}/namespaces/{}/{}",
                self.api_version(),
                escape(namespace),
                self.plural
            ),
            None => format!("{root}/{}/{}", self.api_version(), self.plural),
        }
    }

    /// The path of one object.
    #[must_use]
    pub fn object_path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.path(namespace), escape(name))
    }

    /// Whether the group is one of Kubernetes' own, for which strategic merge patches are defined.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        KUBERNETES_GROUPS.contains(&self.group.as_str())
    }

    /// Whether it can be listed.
    #[must_use]
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    fn answers_to(&self, spelling: &str) -> bool {
        self.plural == spelling
            || self.singular == spelling
            || self.kind.to_lowercase() == spelling
            || self.short_names.iter().any(|s| s == spelling)
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// All kinds of a server, in its order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapper {
    resources: Vec<ApiResource>,
}

impl Mapper {
    /// Asks the server.
    pub async fn discover(api: &Api) -> Result<Self, Failure> {
        let mut resources = Vec::new();
        for root in ["/api", "/apis"] {
            let answer = api.call(Call::get(root).accept(AGGREGATED)).await?;
            match text(&answer, "/kind") {
                "APIGroupDiscoveryList" => resources.extend(aggregated(&answer)),
                "APIVersions" => {
                    for version in list(&answer, "/versions").iter().filter_map(Value::as_str) {
                        resources.extend(legacy(api, "", version).await?);
                    }
                }
                _ => {
                    for version in
                        list(&answer, "/groups").iter().flat_map(|g| list(g, "/versions"))
                    {
                        let version = text(version, "/groupVersion");
                        let (group, version) = version.split_once('/').unwrap_or(("", version));
                        resources.extend(legacy(api, group, version).await?);
                    }
                }
            }
        }
        Ok(Self { resources })
    }

    /// These kinds.
    #[must_use]
    pub fn new(resources: Vec<ApiResource>) -> Self {
        Self { resources }
    }

    /// All kinds.
    #[must_use]
    pub fn resources(&self) -> &[ApiResource] {
        &self.resources
    }

    /// The kind that is typed as `spelling`: plural, singular, kind, short name, each with or without
    /// `.group` or `.version.group`, in any case, or a spelling of the seed.
    #[must_use]
    pub fn find(&self, spelling: &str) -> Option<&ApiResource> {
        let spelling = spelling.to_lowercase();
        self.find_kubernetes(&spelling)
            .or_else(|| self.find_kubernetes(dialect::seed_resource(&spelling)?))
    }

    fn find_kubernetes(&self, spelling: &str) -> Option<&ApiResource> {
        let (name, rest) = spelling.split_once('.').unwrap_or((spelling, ""));
        let fits = |r: &&ApiResource| {
            r.answers_to(name)
                && (rest.is_empty()
                    || r.group == rest
                    || format!("{}.{}", r.version, r.group) == rest)
        };
        self.resources.iter().find(fits)
    }

    /// The kind of a manifest.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&ApiResource> {
        self.resources.iter().find(|r| r.group == group && r.version == version && r.kind == kind)
    }

    /// The kinds of a category (`all`) that can be listed.
    #[must_use]
    pub fn category(&self, category: &str) -> Vec<&ApiResource> {
        let category = category.to_lowercase();
        self.resources
            .iter()
            .filter(|r| r.categories.contains(&category) && r.can("list"))
            .collect()
    }

    /// The closest spelling to one that means nothing.
    #[must_use]
    pub fn suggest(&self, spelling: &str) -> Option<&str> {
        let spelling = spelling.to_lowercase();
        let names = self.resources.iter().flat_map(|r| [r.plural.as_str(), r.singular.as_str()]);
        names
            .map(|name| (distance(&spelling, name), name))
            .filter(|(distance, _)| *distance <= (spelling.len() / 3).min(2))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, name)| name)
    }
}

/// Versions of a group come in its order of preference, so the first spelling found is the preferred one.
fn aggregated(answer: &Value) -> Vec<ApiResource> {
    let mut found = Vec::new();
    for group in list(answer, "/items") {
        for version in list(group, "/versions") {
            for resource in list(version, "/resources") {
                found.push(from_aggregated(
                    text(group, "/metadata/name"),
                    text(version, "/version"),
                    resource,
                ));
            }
        }
    }
    found
}

fn from_aggregated(group: &str, version: &str, resource: &Value) -> ApiResource {
    let subresource = |s: &Value| text(s, "/subresource").to_owned();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: text(resource, "/responseKind/kind").to_owned(),
        plural: text(resource, "/resource").to_owned(),
        singular: text(resource, "/singularResource").to_owned(),
        short_names: texts(resource, "/shortNames"),
        categories: texts(resource, "/categories"),
        namespaced: text(resource, "/scope") == "Namespaced",
        verbs: texts(resource, "/verbs"),
        subresources: list(resource, "/subresources").iter().map(subresource).collect(),
    }
}

async fn legacy(api: &Api, group: &str, version: &str) -> Result<Vec<ApiResource>, Failure> {
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let answer = api.call(Call::get(root)).await?;
    Ok(from_legacy(group, version, list(&answer, "/resources")))
}

fn from_legacy(group: &str, version: &str, entries: &[Value]) -> Vec<ApiResource> {
    let (subresources, resources): (Vec<_>, Vec<_>) =
        entries.iter().partition(|e| text(e, "/name").contains('/'));
    let below = |plural: &str| {
        let names = subresources.iter().filter_map(|s| text(s, "/name").split_once('/'));
        names.filter(|(p, _)| *p == plural).map(|(_, s)| s.to_owned()).collect()
    };
    let one = |entry: &Value| ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: text(entry, "/kind").to_owned(),
        plural: text(entry, "/name").to_owned(),
        singular: text(entry, "/singularName").to_owned(),
        short_names: texts(entry, "/shortNames"),
        categories: texts(entry, "/categories"),
        namespaced: entry["namespaced"] == true,
        verbs: texts(entry, "/verbs"),
        subresources: below(text(entry, "/name")),
    };
    resources.into_iter().map(one).collect()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapper() -> Mapper {
        let core = json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
            {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "singularResource": "pod",
             "shortNames": ["po"], "categories": ["all"], "verbs": ["list"], "subresources": [{"subresource": "log"}]}]}]}]});
        let apps = json!([
            {"name": "replicasets", "kind": "ReplicaSet", "namespaced": true, "singularName": "replicaset",
             "shortNames": ["rs"], "verbs": ["list"]},
            {"name": "replicasets/scale", "kind": "Scale"}]);
        let mut all = aggregated(&core);
        all.extend(from_legacy("apps", "v1", list(&apps, "")));
        Mapper::new(all)
    }

    #[track_caller]
    fn check(spelling: &str, expected: Option<&str>) {
        assert_eq!(mapper().find(spelling).map(ApiResource::qualified).as_deref(), expected);
    }

    #[test]
    fn a_kind_is_found_by_every_spelling() {
        for spelling in ["pods", "pod", "po", "Pod", "PODS", "pods.v1."] {
            check(spelling, Some("pods"));
        }
        for spelling in ["rs", "rss", "replicaset.apps", "ReplicaSet", "replicasets.v1.apps"] {
            check(spelling, Some("replicasets.apps"));
        }
        check("rs.batch", None);
        check("widgets", None);
    }

    #[test]
    fn an_unknown_spelling_gets_the_nearest_known_one() {
        assert_eq!(mapper().suggest("podss"), Some("pods"));
        assert_eq!(mapper().suggest("widgets"), None);
    }

    #[test]
    fn groups_of_others_below_k8s_io_are_none_of_kubernetes_own() {
        let is_builtin = |group: &str| {
            let kinds = json!([{"name": "things", "kind": "Thing", "verbs": ["list"]}]);
            from_legacy(group, "v1", list(&kinds, "")).remove(0).is_builtin()
        };
        assert!(["", "apps", "networking.k8s.io"].into_iter().all(is_builtin));
        let others = ["gateway.networking.k8s.io", "snapshot.storage.k8s.io", "minik8s.io"];
        assert!(!others.into_iter().any(is_builtin));
    }

    #[test]
    fn subresources_and_paths_come_with_the_kind() {
        let mapper = mapper();
        let rs = mapper.find("rs").unwrap();
        assert_eq!(rs.subresources, ["scale"]);
        assert_eq!(rs.object_path(Some("a"), "x"), "/apis/apps/v1/namespaces/a/replicasets/x");
        assert_eq!(mapper.find("po").unwrap().path(None), "/api/v1/pods");
        assert_eq!(rs.object_name("x"), "replicaset.apps/x");
    }
}
