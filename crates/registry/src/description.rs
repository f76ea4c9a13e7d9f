//! The words a resource is described with: its names, its scope, the paths below its objects, its table's columns.

/// Whether objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Names are unique in the cluster.
    Cluster,
    /// Names are unique in a namespace.
    Namespaced,
}

/// What a resource is called.
#[derive(Clone, Debug)]
pub struct Names {
    /// `""` for the core group.
    pub group: String,
    /// The version: `v1`.
    pub version: String,
    /// The kind: `Pod`.
    pub kind: String,
    /// The resource name in paths: `pods`.
    pub plural: String,
    /// `pod`.
    pub singular: String,
    /// The kind of its lists: `PodList`.
    pub list_kind: String,
    /// What a command line may say instead: `po`.
    pub short_names: Vec<String>,
    /// The groups of resources it belongs to: `all`.
    pub categories: Vec<String>,
}

impl Names {
    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        let Self { group, version, .. } = self;
        if group.is_empty() { version.clone() } else { format!("{group}/{version}") }
    }

    /// The group where it has to have a name: the core group, which has none, is `core`.
    #[must_use]
    pub fn group_segment(&self) -> &str {
        if self.group.is_empty() { "core" } else { &self.group }
    }

    /// The place in the store of a kind that is kept apart from others.
    pub(crate) fn collection(&self) -> String {
        format!("{}/{}", self.group_segment(), self.plural)
    }
}

/// A path below an object, beside the object itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// What controllers found out.
    Status,
    /// The wanted number of replicas, alike for all kinds that have one.
    Scale,
    /// `pods/binding`, write-only: the scheduler's choice of a node.
    Binding,
    /// `pods/eviction`, write-only: a deletion that a PodDisruptionBudget may put off.
    Eviction,
    /// `serviceaccounts/token`, write-only: a token that says whose it is.
    Token,
    /// `pods/log`, read-only: answered by the pod's kubelet.
    Log,
    /// `pods/exec`: a command in a container, with the client's streams.
    Exec,
    /// `pods/attach`: a container's own process, with the client's streams.
    Attach,
    /// `pods/portforward`: connections into a pod.
    PortForward,
    /// `pods/proxy`, `services/proxy` and `nodes/proxy`: requests to a server in a pod, or to a kubelet, with whatever
    /// path follows.
    Proxy,
    /// `namespaces/finalize`, write-only: takes the namespace's own finalizers away.
    Finalize,
    /// `certificatesigningrequests/approval`: whether a certificate is to be signed.
    Approval,
    /// `pods/ephemeralcontainers`: those that are added while a pod runs.
    EphemeralContainers,
    /// `pods/resize`: how much its containers may take.
    Resize,
}

impl Subresource {
    /// The path segment.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Token => "token",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
            Self::Finalize => "finalize",
            Self::Approval => "approval",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
        }
    }

    /// Whether it is a connection, to a pod or a kubelet, and no object.
    #[must_use]
    pub fn connects(self) -> bool {
        matches!(self, Self::Exec | Self::Attach | Self::PortForward | Self::Proxy)
    }
}

/// A column of the resource's table.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// The heading, as in `metav1.Table`: `Nominated Node`.
    pub name: String,
    /// OpenAPI type: `string`, `integer`, `date`.
    pub type_: String,
    /// OpenAPI format: `int32`; `name` for the object's name.
    pub format: String,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
    /// What it tells.
    pub description: String,
}

impl Column {
    pub(crate) fn new(name: &str, type_: &str, priority: i32) -> Self {
        let [name, type_] = [name, type_].map(str::to_owned);
        Self { name, type_, priority, ..Self::default() }
    }

    /// The object's name.
    pub(crate) fn name() -> Self {
        Self {
            format: "name".to_owned(),
            description: "Name must be unique within a namespace.".to_owned(),
            ..Self::new("Name", "string", 0)
        }
    }
}
