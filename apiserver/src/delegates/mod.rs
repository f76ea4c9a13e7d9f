//! The group versions that other servers serve, as APIServices say, and what is known of these servers
//! (Kubernetes: `kube-aggregator/pkg/apiserver`).

mod client;
mod priority;
mod resources;

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use api_types::{
    Resource,
    apiregistration::v1::{APIService, APIServiceSpec},
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use registry::Priority;
use serde_json::Value;

use crate::pki::FrontProxy;

use self::client::Trust;
pub(crate) use self::{
    client::{ServerClient, ServiceAddress},
    priority::priority,
    resources::resources,
};

/// A group version that another server serves.
#[derive(Debug)]
pub(crate) struct Delegate {
    /// Of the APIService.
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) service: ServiceAddress,
    /// Of the group, and of the version in it: more is before less.
    pub(crate) priority: (i32, i32),
    pub(crate) is_available: bool,
    /// It keeps its connections for as long as the server is the same.
    pub(crate) client: Arc<ServerClient>,
}

impl Delegate {
    /// Where its discovery is.
    pub(crate) fn path(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

/// What a server has told of a group version.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Its resources, as aggregated discovery lists them.
    pub(crate) resources: Vec<Value>,
    /// Whether it has told them when it was asked last.
    pub(crate) is_current: bool,
    pub(crate) open_api: Option<Arc<OpenApiOf>>,
}

/// Its documents of OpenAPI, as far as it has them.
#[derive(Debug, PartialEq)]
pub(crate) struct OpenApiOf {
    pub(crate) group: String,
    pub(crate) version: String,
    /// The address of the document, which changes with it; empty if all is to be fetched again.
    pub(crate) address: String,
    pub(crate) v3: Option<Bytes>,
    pub(crate) v2: Option<Value>,
}

/// All of a moment, in the order of their names.
pub(crate) type Table = Vec<Arc<Delegate>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Delegates {
    front_proxy: Option<Arc<FrontProxy>>,
    table: ArcSwap<Table>,
    /// By the APIService's name.
    told: Mutex<HashMap<String, Arc<Told>>>,
}

impl Delegates {
    /// Nobody yet; servers are shown these credentials.
    pub(crate) fn new(front_proxy: Option<FrontProxy>) -> Self {
        Self { front_proxy: front_proxy.map(Arc::new), ..Self::default() }
    }

    /// Those of now.
    pub(crate) fn all(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Goes by these APIServices from now on.
    pub(crate) fn replace(&self, services: &[APIService]) {
        let before = self.all();
        let mut table: Table = services
            .iter()
            .filter_map(|service| self.delegate(service, &before).map(Arc::new))
            .collect();
        table.sort_by(|one, other| one.name.cmp(&other.name));
        self.told.lock().retain(|name, _| table.iter().any(|it| it.name == *name));
        self.table.store(Arc::new(table));
    }

    fn delegate(&self, service: &APIService, before: &Table) -> Option<Delegate> {
        let spec = service.spec.as_ref()?;
        // Who is asked then for APIServices could not be changed any more.
        if spec.group.as_deref() == Some(APIService::GROUP) {
            return None;
        }
        let address = address(spec)?;
        let trust = Trust::of(spec);
        let known = before.iter().find(|it| it.client.is_of(&address, &trust));
        let client = known.map_or_else(
            || Arc::new(ServerClient::new(address.clone(), trust, self.front_proxy.clone())),
            |known| known.client.clone(),
        );
        Some(Delegate {
            name: service.metadata.name.clone()?,
            group: spec.group.clone().unwrap_or_default(),
            version: spec.version.clone()?,
            service: address,
            priority: (spec.group_priority_minimum, spec.version_priority),
            is_available: is_available(service),
            client,
        })
    }

    /// Whose a path is.
    pub(crate) fn of_path(&self, path: &str) -> Option<Arc<Delegate>> {
        let table = self.table.load();
        if table.is_empty() {
            return None;
        }
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let (group, version) = match segments.next()? {
            "apis" => (segments.next()?, segments.next()?),
            "api" => ("", segments.next()?),
            _ => return None,
        };
        table.iter().find(|it| it.group == group && it.version == version).cloned()
    }

    /// What is known of one.
    pub(crate) fn told(&self, name: &str) -> Option<Arc<Told>> {
        self.told.lock().get(name).cloned()
    }

    /// What one says of itself now.
    pub(crate) fn tell(&self, name: &str, told: Told) {
        self.told.lock().insert(name.to_owned(), Arc::new(told));
    }

    /// What all say of their API.
    pub(crate) fn open_api(&self) -> Vec<Arc<OpenApiOf>> {
        let told = self.told.lock();
        let known = |it: &Arc<Delegate>| told.get(&it.name)?.open_api.clone();
        self.table.load().iter().filter_map(known).collect()
    }
}

fn address(spec: &APIServiceSpec) -> Option<ServiceAddress> {
    let service = spec.service.as_ref()?;
    Some(ServiceAddress {
        namespace: service.namespace.clone()?,
        name: service.name.clone()?,
        port: u16::try_from(service.port?).ok()?,
    })
}

fn is_available(service: &APIService) -> bool {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|told| told.type_ == "Available" && told.status == "True")
}

/// In what order clients are told of versions of a group: what has more priority first, else as Kubernetes compares them.
pub(crate) fn version_order(version: &str, priority: i32) -> (Reverse<i32>, Priority) {
    (Reverse(priority), Priority::of(version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, port: Option<u16>, available: &str) -> APIService {
        let (version, group) = name.split_once('.').unwrap();
        let to = port.map(|port| json!({"namespace": "ns", "name": "api", "port": port}));
        serde_json::from_value(json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name},
            "spec": {
                "group": group, "version": version, "service": to,
                "groupPriorityMinimum": 1000, "versionPriority": 15,
            },
            "status": {"conditions": [{"type": "Available", "status": available}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_path_of_a_group_version_with_a_service_is_its_servers() {
        let delegates = Delegates::default();
        let of = |path: &str| delegates.of_path(path).map(|it| (it.name.clone(), it.is_available));
        assert_eq!(of("/apis/example.com/v1/frogs"), None);
        let far = service("v1.example.com", Some(443), "True");
        delegates.replace(&[far.clone(), service("v2.example.com", None, "True")]);
        let expected = Some(("v1.example.com".to_owned(), true));
        assert_eq!(of("/apis/example.com/v1"), expected);
        assert_eq!(of("//apis/example.com/v1/namespaces/a/frogs"), expected);
        for other in ["/apis/example.com", "/apis/example.com/v2", "/apis/x/v1", "/api/v1", "/"] {
            assert_eq!(of(other), None, "{other}");
        }
        let before = delegates.all()[0].client.clone();
        delegates.replace(&[service("v1.example.com", Some(443), "False")]);
        assert_eq!(of("/apis/example.com/v1"), Some(("v1.example.com".to_owned(), false)));
        assert!(Arc::ptr_eq(&before, &delegates.all()[0].client), "connections are kept");
        delegates.replace(&[service("v1.example.com", Some(8443), "False")]);
        assert!(!Arc::ptr_eq(&before, &delegates.all()[0].client), "it is another server");
    }
}
