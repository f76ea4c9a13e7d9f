//! Which resources the API server has, for controllers that deal with all of them.

use kube::api::{Api, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};
use kube::{Client, Result};

/// A resource of the API server.
#[derive(Clone, Debug)]
pub(crate) struct Discovered {
    /// Its names.
    pub(crate) resource: ApiResource,
    capabilities: ApiCapabilities,
}

impl Discovered {
    /// Whether its objects are in namespaces.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.capabilities.scope == Scope::Namespaced
    }

    /// Whether all the verbs work on it.
    pub(crate) fn supports(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.capabilities.supports_operation(verb))
    }

    /// Whether its objects can be followed and deleted. Events are left out: they own nothing, nobody owns
    /// them, and there are many.
    pub(crate) fn is_collectable(&self) -> bool {
        self.resource.kind != "Event" && self.supports(&[verbs::LIST, verbs::WATCH, verbs::DELETE])
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

/// All resources, each in the version that the API server recommends.
pub(crate) async fn resources(client: Client) -> Result<Vec<Discovered>> {
    let discovery = Discovery::new(client).run().await?;
    let found = discovery.groups().flat_map(|group| group.recommended_resources());
    Ok(found.map(|(resource, capabilities)| Discovered { resource, capabilities }).collect())
}
