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
    /// What a command line may say instead: `po`.
    pub short_names: Vec<String>,
    /// The groups of resources it belongs to: `all`.
    pub categories: Vec<String>,
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
    /// `pods/log`, read-only: answered by the pod's kubelet.
    Log,
    /// `pods/exec`: a command in a container, with the client's streams.
    Exec,
    /// `pods/attach`: a container's own process, with the client's streams.
    Attach,
    /// `pods/portforward`: connections into a pod.
    PortForward,
    /// `namespaces/finalize`, write-only: takes the namespace's own finalizers away.
    Finalize,
}

impl Subresource {
    /// The path segment.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Finalize => "finalize",
        }
    }

    /// Whether it is a connection, to the pod's kubelet, and no object.
    #[must_use]
    pub fn connects(self) -> bool {
        matches!(self, Self::Exec | Self::Attach | Self::PortForward)
    }
}

/// A column of the resource's table.
#[derive(Clone, Debug)]
pub struct Column {
    /// The heading, as in `metav1.Table`: `Nominated Node`.
    pub name: String,
    /// OpenAPI type: `string`, `integer`, `date`.
    pub type_: String,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
    /// What it tells.
    pub description: String,
}
