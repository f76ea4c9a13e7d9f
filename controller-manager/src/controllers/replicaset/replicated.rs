//! The kinds whose objects keep a number of pods alike (Kubernetes: `pkg/controller/replication/conversion.go`).

use std::borrow::Cow;
use std::sync::Arc;

use api_types::NamespaceResourceScope;
use api_types::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use api_types::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec,
    ReplicationControllerStatus,
};
use api_types::meta::LabelSelector;
use kube::Resource;
use serde::de::DeserializeOwned;

use crate::frame::Informer;
use crate::indexes::Selecting;
use crate::informers::Informers;

/// A kind that is a ReplicaSet but for its name and the form of its selector; the status has the same fields.
pub(super) trait Replicated:
    Selecting + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned
{
    /// The controller's name in logs and events.
    const CONTROLLER: &'static str;

    fn all(informers: &Informers) -> &Arc<Informer<Self>>;

    fn as_set(&self) -> Cow<'_, ReplicaSet>;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";

    fn all(informers: &Informers) -> &Arc<Informer<Self>> {
        &informers.replica_sets
    }

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";

    fn all(informers: &Informers) -> &Arc<Informer<Self>> {
        &informers.replication_controllers
    }

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        let metadata = self.metadata.clone();
        let (spec, status) = (self.spec.clone().map(spec), self.status.clone().map(status));
        Cow::Owned(ReplicaSet { metadata, spec, status })
    }
}

fn spec(spec: ReplicationControllerSpec) -> ReplicaSetSpec {
    let ReplicationControllerSpec { min_ready_seconds, replicas, selector, template } = spec;
    let selector = LabelSelector { match_labels: selector, match_expressions: None };
    ReplicaSetSpec { min_ready_seconds, replicas, selector, template }
}

fn status(status: ReplicationControllerStatus) -> ReplicaSetStatus {
    ReplicaSetStatus {
        available_replicas: status.available_replicas,
        conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
        fully_labeled_replicas: status.fully_labeled_replicas,
        observed_generation: status.observed_generation,
        ready_replicas: status.ready_replicas,
        replicas: status.replicas,
        terminating_replicas: None,
    }
}

fn condition(condition: ReplicationControllerCondition) -> ReplicaSetCondition {
    let ReplicationControllerCondition { last_transition_time, message, reason, status, type_ } =
        condition;
    ReplicaSetCondition { last_transition_time, message, reason, status, type_ }
}
