//! Objects to begin with: valid, and as small as they can be.

use std::collections::BTreeMap;

use api_types::{
    IntOrString, Quantity,
    api::{
        apps::v1::{ReplicaSet, ReplicaSetSpec},
        core::v1::{
            Container, Node, NodeCondition, NodeStatus, Pod, PodCondition, PodSpec, PodStatus,
            PodTemplateSpec, Service, ServicePort, ServiceSpec,
        },
    },
    meta::{LabelSelector, ObjectMeta},
};

/// An image name for pods that are never run.
const IMAGE: &str = "example.org/image:1";

/// A pod with one container.
pub fn pod(name: &str) -> PodBuilder {
    let container = Container {
        name: "main".to_owned(),
        image: Some(IMAGE.to_owned()),
        ..Container::default()
    };
    let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    PodBuilder { pod: Pod { metadata: named(name), spec: Some(spec), status: None } }
}

/// A pod in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct PodBuilder {
    pod: Pod,
}

impl PodBuilder {
    /// In this namespace instead of `default`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.pod.metadata.namespace = Some(namespace.to_owned());
        self
    }

    /// With a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        label(&mut self.pod.metadata, key, value);
        self
    }

    /// The first container's image.
    pub fn image(mut self, image: &str) -> Self {
        self.container_mut().image = Some(image.to_owned());
        self
    }

    /// The first container's command.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.container_mut().command = Some(command.iter().map(|&c| c.to_owned()).collect());
        self
    }

    /// What the first container asks for, such as `("cpu", "100m")`.
    pub fn request(mut self, resource: &str, quantity: &str) -> Self {
        let resources = self.container_mut().resources.get_or_insert_default();
        let requests = resources.requests.get_or_insert_default();
        requests.insert(resource.to_owned(), Quantity(quantity.to_owned()));
        self
    }

    /// One more container.
    pub fn container(mut self, container: Container) -> Self {
        self.spec_mut().containers.push(container);
        self
    }

    /// Bound to a node.
    pub fn node(mut self, node: &str) -> Self {
        self.spec_mut().node_name = Some(node.to_owned());
        self
    }

    /// Running and ready, with this address.
    pub fn running(mut self, ip: &str) -> Self {
        self.pod.status = Some(PodStatus {
            phase: Some("Running".to_owned()),
            pod_ip: Some(ip.to_owned()),
            conditions: Some(vec![PodCondition {
                type_: "Ready".to_owned(),
                status: "True".to_owned(),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        });
        self
    }

    /// With anything else.
    pub fn with(mut self, change: impl FnOnce(&mut Pod)) -> Self {
        change(&mut self.pod);
        self
    }

    /// The pod.
    pub fn build(self) -> Pod {
        self.pod
    }

    fn spec_mut(&mut self) -> &mut PodSpec {
        self.pod.spec.get_or_insert_default()
    }

    fn container_mut(&mut self) -> &mut Container {
        let containers = &mut self.spec_mut().containers;
        if containers.is_empty() {
            containers.push(Container::default());
        }
        &mut containers[0]
    }
}

/// A node that is ready and has room for 110 pods, 4 processors and 8 GiB.
pub fn node(name: &str) -> NodeBuilder {
    let room = [("cpu", "4"), ("memory", "8Gi"), ("pods", "110")];
    let room: BTreeMap<_, _> =
        room.map(|(resource, n)| (resource.to_owned(), Quantity(n.to_owned()))).into();
    let status = NodeStatus {
        capacity: Some(room.clone()),
        allocatable: Some(room),
        ..NodeStatus::default()
    };
    let mut metadata = named(name);
    metadata.namespace = None;
    label(&mut metadata, "kubernetes.io/hostname", name);
    NodeBuilder { node: Node { metadata, spec: None, status: Some(status) } }.ready(true)
}

/// A node in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct NodeBuilder {
    node: Node,
}

impl NodeBuilder {
    /// Whether it is ready.
    pub fn ready(mut self, ready: bool) -> Self {
        let status = if ready { "True" } else { "False" };
        self.node.status.get_or_insert_default().conditions = Some(vec![NodeCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            ..NodeCondition::default()
        }]);
        self
    }

    /// How much of a resource pods may have of it.
    pub fn allocatable(mut self, resource: &str, quantity: &str) -> Self {
        let status = self.node.status.get_or_insert_default();
        let allocatable = status.allocatable.get_or_insert_default();
        allocatable.insert(resource.to_owned(), Quantity(quantity.to_owned()));
        self
    }

    /// With a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        label(&mut self.node.metadata, key, value);
        self
    }

    /// With anything else.
    pub fn with(mut self, change: impl FnOnce(&mut Node)) -> Self {
        change(&mut self.node);
        self
    }

    /// The node.
    pub fn build(self) -> Node {
        self.node
    }
}

/// A replica set of one pod, whose pods have the label `app` with its name.
pub fn replica_set(name: &str) -> ReplicaSetBuilder {
    let template = pod(name).label("app", name).build();
    let spec = ReplicaSetSpec {
        replicas: Some(1),
        selector: LabelSelector {
            match_labels: template.metadata.labels.clone(),
            match_expressions: None,
        },
        template: Some(PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: template.metadata.labels,
                ..ObjectMeta::default()
            }),
            spec: template.spec,
        }),
        ..ReplicaSetSpec::default()
    };
    let set = ReplicaSet { metadata: named(name), spec: Some(spec), status: None };
    ReplicaSetBuilder { set }
}

/// A replica set in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct ReplicaSetBuilder {
    set: ReplicaSet,
}

impl ReplicaSetBuilder {
    /// How many pods.
    pub fn replicas(self, replicas: i32) -> Self {
        self.with(|set| set.spec.get_or_insert_default().replicas = Some(replicas))
    }

    /// With anything else.
    pub fn with(mut self, change: impl FnOnce(&mut ReplicaSet)) -> Self {
        change(&mut self.set);
        self
    }

    /// The replica set.
    pub fn build(self) -> ReplicaSet {
        self.set
    }
}

/// A service of the pods whose label `app` is its name, without a port yet.
pub fn service(name: &str) -> ServiceBuilder {
    let selector = BTreeMap::from([("app".to_owned(), name.to_owned())]);
    let spec = ServiceSpec { selector: Some(selector), ..ServiceSpec::default() };
    ServiceBuilder { service: Service { metadata: named(name), spec: Some(spec), status: None } }
}

/// A service in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct ServiceBuilder {
    service: Service,
}

impl ServiceBuilder {
    /// With a TCP port that leads to `target` of the pods.
    pub fn port(self, port: i32, target: i32) -> Self {
        self.with(|service| {
            let ports = service.spec.get_or_insert_default().ports.get_or_insert_default();
            ports.push(ServicePort {
                name: Some(format!("p{port}")),
                port,
                target_port: Some(IntOrString::Int(target)),
                ..ServicePort::default()
            });
        })
    }

    /// With anything else.
    pub fn with(mut self, change: impl FnOnce(&mut Service)) -> Self {
        change(&mut self.service);
        self
    }

    /// The service.
    pub fn build(self) -> Service {
        self.service
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("default".to_owned()),
        ..ObjectMeta::default()
    }
}

fn label(metadata: &mut ObjectMeta, key: &str, value: &str) {
    metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}
