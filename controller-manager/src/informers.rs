//! The stores all controllers share: one per kind, each fed by one stream.

use std::sync::Arc;

use api_types::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use api_types::api::autoscaling::v2::HorizontalPodAutoscaler;
use api_types::api::batch::v1::{CronJob, Job};
use api_types::api::certificates::v1::CertificateSigningRequest;
use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::{
    Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Service, ServiceAccount,
};
use api_types::api::discovery::v1::EndpointSlice;
use api_types::api::networking::v1::{Ingress, IngressClass, ServiceCIDR};
use api_types::api::policy::v1::PodDisruptionBudget;
use api_types::api::rbac::v1::{Role, RoleBinding};
use api_types::api::storage::v1::StorageClass;
use api_types::minik8s::{Dns, Function, GpuJob, Workflow, WorkflowRun};
use listwatch::demand::LEASE_NAMESPACE;
use listwatch::{ListWatch, Scope};
use tokio::task::JoinSet;

use crate::frame::Informer;

/// Lists the stores once and derives from the list everything that is done with each of them.
macro_rules! informers {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $scope:expr,)*) => {
        /// The shared stores. A new kind is a line here.
        #[derive(Clone, Debug, Default)]
        pub struct Informers {
            $($(#[$doc])* pub $field: Arc<Informer<$kind>>,)*
        }

        impl Informers {
            /// Starts following the API server.
            pub fn start(&self, listwatch: &ListWatch, tasks: &mut JoinSet<()>) {
                $({
                    let (informer, events) = (self.$field.clone(), listwatch.watch::<$kind>($scope));
                    tasks.spawn(async move { informer.follow(events).await });
                })*
            }
        }
    };
}

informers! {
    /// All pods.
    pods: Pod = Scope::All,
    /// All nodes.
    nodes: Node = Scope::All,
    /// The nodes' leases.
    node_leases: Lease = Scope::Namespace("kube-node-lease".to_owned()),
    /// The gateways' leases, among others.
    gateway_leases: Lease = Scope::Namespace(LEASE_NAMESPACE.to_owned()),
    /// All requests for certificates.
    certificate_signing_requests: CertificateSigningRequest = Scope::All,
    /// All namespaces.
    namespaces: Namespace = Scope::All,
    /// All Deployments.
    deployments: Deployment = Scope::All,
    /// All ReplicaSets.
    replica_sets: ReplicaSet = Scope::All,
    /// All StatefulSets.
    stateful_sets: StatefulSet = Scope::All,
    /// All DaemonSets.
    daemon_sets: DaemonSet = Scope::All,
    /// All ControllerRevisions.
    controller_revisions: ControllerRevision = Scope::All,
    /// All claims to volumes.
    persistent_volume_claims: PersistentVolumeClaim = Scope::All,
    /// All volumes.
    persistent_volumes: PersistentVolume = Scope::All,
    /// All classes of storage.
    storage_classes: StorageClass = Scope::All,
    /// All ReplicationControllers.
    replication_controllers: ReplicationController = Scope::All,
    /// All CronJobs.
    cron_jobs: CronJob = Scope::All,
    /// All PodDisruptionBudgets.
    pod_disruption_budgets: PodDisruptionBudget = Scope::All,
    /// All Jobs.
    jobs: Job = Scope::All,
    /// All HorizontalPodAutoscalers.
    horizontal_pod_autoscalers: HorizontalPodAutoscaler = Scope::All,
    /// All ResourceQuotas.
    resource_quotas: ResourceQuota = Scope::All,
    /// All Services.
    services: Service = Scope::All,
    /// All ranges of Services' addresses.
    service_cidrs: ServiceCIDR = Scope::All,
    /// All Endpoints.
    endpoints: Endpoints = Scope::All,
    /// All EndpointSlices.
    endpoint_slices: EndpointSlice = Scope::All,
    /// All ServiceAccounts.
    service_accounts: ServiceAccount = Scope::All,
    /// All Roles.
    roles: Role = Scope::All,
    /// All RoleBindings.
    role_bindings: RoleBinding = Scope::All,
    /// All functions.
    functions: Function = Scope::All,
    /// All DNS objects.
    dnses: Dns = Scope::All,
    /// All Ingresses.
    ingresses: Ingress = Scope::All,
    /// All classes of Ingresses.
    ingress_classes: IngressClass = Scope::All,
    /// All GPU jobs.
    gpu_jobs: GpuJob = Scope::All,
    /// All Workflows.
    workflows: Workflow = Scope::All,
    /// All WorkflowRuns.
    workflow_runs: WorkflowRun = Scope::All,
}
