//! Which resources the API server has, for controllers that deal with all of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join;
use kube::api::{Api, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery, APIVersionDiscovery};
use kube::core::gvk::GroupVersionKind;
use kube::discovery::{ApiResource, verbs};
use kube::{Client, Result};

use crate::shared_answer::SharedAnswer;

/// How old an answer may be for who need not know the latest.
pub(crate) const PERIOD: Duration = Duration::from_secs(30);

/// A resource of the API server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Discovered {
    /// Its names.
    pub(crate) resource: ApiResource,
    namespaced: bool,
    verbs: Vec<String>,
}

impl Discovered {
    /// Whether its objects are in namespaces.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.namespaced
    }

    /// Whether all the verbs work on it.
    pub(crate) fn supports(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|mine| mine == verb))
    }

    /// Whether its objects can be followed and deleted. Events are left out: they own nothing, nobody owns
    /// them, and there are many.
    pub(crate) fn is_collectable(&self) -> bool {
        !self.is_event() && self.supports(&[verbs::LIST, verbs::WATCH, verbs::DELETE])
    }

    /// Other groups may well have a kind of this name.
    fn is_event(&self) -> bool {
        self.resource.kind == "Event" && ["", "events.k8s.io"].contains(&&*self.resource.group)
    }

    /// Group and kind, by which owner references name it whatever its version.
    pub(crate) fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.resource.group.clone(), kind: self.resource.kind.clone() }
    }

    /// The metadata of its objects in a namespace; of a cluster-scoped resource, all.
    pub(crate) fn api(
        &self,
        client: Client,
        namespace: &str,
    ) -> Api<PartialObjectMeta<DynamicObject>> {
        if self.is_namespaced() && !namespace.is_empty() {
            return Api::namespaced_with(client, namespace, &self.resource);
        }
        Api::all_with(client, &self.resource)
    }
}

/// A kind in whatever version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKind {
    pub(crate) group: String,
    pub(crate) kind: String,
}

impl GroupKind {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }
}

/// What discovery has found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Resources {
    /// Each resource once, in the version that the API server prefers.
    pub(crate) all: Vec<Discovered>,
    /// The group versions that should be there, but whose server could not be asked.
    pub(crate) failing: Vec<String>,
}

impl Resources {
    fn of(groups: &[APIGroupDiscovery]) -> Self {
        let mut resources = Self::default();
        for group in groups {
            resources.add(group);
        }
        resources
    }

    /// Versions are in the order of preference.
    fn add(&mut self, group: &APIGroupDiscovery) {
        let name = group.metadata.as_ref().and_then(|metadata| metadata.name.as_deref());
        let name = name.unwrap_or_default();
        let mut seen = HashSet::new();
        for version in &group.versions {
            if version.freshness.as_deref() == Some("Stale") {
                self.failing.push(group_version(name, version));
                continue;
            }
            let found = version.resources.iter().filter_map(|it| discovered(name, version, it));
            self.all.extend(found.filter(|found| seen.insert(found.resource.plural.clone())));
        }
    }
}

fn group_version(group: &str, version: &APIVersionDiscovery) -> String {
    let version = version.version.as_deref().unwrap_or_default();
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn discovered(
    group: &str,
    version: &APIVersionDiscovery,
    found: &APIResourceDiscovery,
) -> Option<Discovered> {
    let kind = found.response_kind.as_ref()?.kind.as_deref()?;
    let version = version.version.as_deref()?;
    let gvk = GroupVersionKind::gvk(group, version, kind);
    Some(Discovered {
        resource: ApiResource::from_gvk_with_plural(&gvk, found.resource.as_deref()?),
        namespaced: found.scope.as_deref() == Some("Namespaced"),
        verbs: found.verbs.clone(),
    })
}

/// Asks the API server, once for all who want to know at the same time.
pub(crate) struct Discovery {
    client: Client,
    answer: SharedAnswer<Resources>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("answer", &self.answer).finish_non_exhaustive()
    }
}

impl Discovery {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, answer: SharedAnswer::default() }
    }

    /// The resources there are now.
    pub(crate) async fn fresh(&self) -> Result<Arc<Resources>> {
        self.answer.fresh(self.ask()).await
    }

    /// The resources there were not longer ago than [`PERIOD`].
    pub(crate) async fn recent(&self) -> Result<Arc<Resources>> {
        self.answer.recent(PERIOD, self.ask()).await
    }

    /// The resources that were found last, however long ago.
    pub(crate) async fn last(&self) -> Option<Arc<Resources>> {
        self.answer.last().await
    }

    async fn ask(&self) -> Result<Resources> {
        let core = self.client.list_core_api_versions_aggregated();
        let (core, groups) = try_join(core, self.client.list_api_groups_aggregated()).await?;
        let groups: Vec<_> = core.items.into_iter().chain(groups.items).collect();
        Ok(Resources::of(&groups))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resource(plural: &str, kind: &str) -> Value {
        json!({"resource": plural, "responseKind": {"group": "", "version": "", "kind": kind},
               "scope": "Namespaced", "verbs": ["list", "watch", "delete"]})
    }

    /// Found resources as `apiVersion/plural`, and what is failing.
    fn check(groups: Value, expected: &[&str], failing: &[&str]) {
        let groups: Vec<APIGroupDiscovery> = serde_json::from_value(groups).unwrap();
        let found = Resources::of(&groups);
        let names = found
            .all
            .iter()
            .map(|found| format!("{}/{}", found.resource.api_version, found.resource.plural));
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert_eq!(found.failing, failing);
    }

    #[test]
    fn each_resource_is_found_once_in_the_version_that_is_preferred() {
        let versions = json!([
            {"version": "v2", "freshness": "Current", "resources": [resource("as", "A")]},
            {"version": "v1", "freshness": "Current", "resources": [resource("as", "A"), resource("bs", "B")]},
        ]);
        check(
            json!([{"metadata": {}, "versions": [{"version": "v1", "resources": [resource("pods", "Pod")]}]},
                   {"metadata": {"name": "x.io"}, "versions": versions}]),
            &["v1/pods", "x.io/v2/as", "x.io/v1/bs"],
            &[],
        );
    }

    #[test]
    fn what_could_not_be_asked_for_is_told() {
        let versions = json!([
            {"version": "v2", "freshness": "Stale", "resources": []},
            {"version": "v1", "freshness": "Current", "resources": [resource("as", "A")]},
        ]);
        check(
            json!([{"metadata": {"name": "x.io"}, "versions": versions}]),
            &["x.io/v1/as"],
            &["x.io/v2"],
        );
    }

    #[tokio::test]
    async fn the_api_servers_own_resources_are_found() {
        let plane = testkit::ControlPlane::start().await;
        let found = Discovery::new(plane.client()).fresh().await.unwrap();
        assert_eq!(found.failing, Vec::<String>::new());
        let of = |plural: &str| found.all.iter().find(|f| f.resource.plural == plural).unwrap();
        assert!(of("pods").is_namespaced() && of("pods").is_collectable());
        assert!(!of("nodes").is_namespaced() && of("nodes").is_collectable());
        assert_eq!(of("replicasets").resource.api_version, "apps/v1");
        let events = of("events").clone();
        assert!(!events.is_collectable());
        let resource = ApiResource { group: "concerts.io".to_owned(), ..events.resource };
        assert!(Discovered { resource, ..events }.is_collectable(), "they only have the same name");
        assert!(of("configmaps").supports(&[verbs::DELETE_COLLECTION]));
    }
}
