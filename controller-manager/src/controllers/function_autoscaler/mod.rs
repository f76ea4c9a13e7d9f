//! Gives the version of each function that serves as many instances as its calls need, or none.
//!
//! *Flow*: gateways tell which calls they have in hand (over Redis, and in their Leases); what all say together is a
//! function's load; [`decision`] makes of it the replicas of the ReplicaSet of the version that serves. While there are
//! calls or instances beyond the fewest, each function is looked at once a second.
//!
//! What the version is and which one serves is the function controller's matter.

mod decision;
mod demands;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::coordination::v1::Lease;
use api_types::minik8s::{Function, FunctionVersion, FunctionVersionPhase};
use futures::StreamExt;
use kube::Api;
use kube::api::{Patch, PatchParams};
use listwatch::Demand;
use listwatch::demand::{ANNOTATION, LEASE_LABEL, LEASE_PREFIX};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::function::Pools;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::owners::controller_of;
use decision::{Autoscaler, Limits};
use demands::Demands;

const NAME: &str = "function-autoscaler";
const PERIOD: Duration = Duration::from_secs(1);

/// The first instances of a function come from the pools if they have some.
pub(super) fn register(context: &Context, pools: Pools, tasks: &mut JoinSet<()>) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let informers = &context.informers;
    let wanted = queue.clone();
    informers.functions.on_change(move |change: &Change<Function>| {
        change
            .latest()
            .into_iter()
            .for_each(|function| wanted.add(ObjectKey::of(&function.metadata)));
    });
    let wanted = queue.clone();
    informers.replica_sets.on_change(move |change: &Change<ReplicaSet>| {
        change
            .latest()
            .and_then(|set| function_of(set))
            .into_iter()
            .for_each(|key| wanted.add(key));
    });
    let demands = Arc::<Mutex<Demands>>::default();
    follow_leases(informers, &demands, &queue);
    follow_messages(context, &demands, &queue, tasks);
    let controller = FunctionAutoscaler {
        client: context.client(),
        informers: informers.clone(),
        demands,
        autoscalers: Mutex::default(),
        pools,
    };
    let registered = Registered::new(controller, queue);
    let Informers { functions, replica_sets, gateway_leases, .. } = informers;
    registered.reads(functions).reads(replica_sets).reads(gateway_leases)
}

/// The function whose instances a set makes.
fn function_of(set: &ReplicaSet) -> Option<ObjectKey> {
    let owner = controller_of(&set.metadata).filter(|owner| owner.kind == "Function")?;
    Some(ObjectKey::new(set.metadata.namespace.clone()?, owner.name.clone()))
}

fn follow_leases(informers: &Informers, demands: &Arc<Mutex<Demands>>, queue: &Arc<WorkQueue>) {
    let (demands, queue) = (demands.clone(), queue.clone());
    informers.gateway_leases.on_change(move |change: &Change<Lease>| {
        let Some(gateway) = change.latest().and_then(|lease| gateway_of(lease)) else { return };
        let concerned = match &change.new {
            Some(lease) => demands.lock().renewed(Instant::now(), gateway, annotated(lease)),
            None => demands.lock().gone(gateway),
        };
        look_at(&queue, &concerned);
    });
}

/// The gateway whose Lease it is, if it is one's.
fn gateway_of(lease: &Lease) -> Option<&str> {
    let (label, value) = LEASE_LABEL;
    let labels = lease.metadata.labels.as_ref()?;
    labels.get(label).filter(|given| *given == value)?;
    lease.metadata.name.as_deref()?.strip_prefix(LEASE_PREFIX)
}

fn annotated(lease: &Lease) -> Demand {
    let annotations = lease.metadata.annotations.iter();
    let Some(text) = annotations.flat_map(|all| all.get(ANNOTATION)).next() else {
        return Demand::default();
    };
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(lease = lease.metadata.name, %error, "{ANNOTATION} cannot be read");
        Demand::default()
    })
}

fn follow_messages(
    context: &Context,
    demands: &Arc<Mutex<Demands>>,
    queue: &Arc<WorkQueue>,
    tasks: &mut JoinSet<()>,
) {
    let Some(messages) = context.listwatch.demand() else { return };
    let (demands, queue) = (demands.clone(), queue.clone());
    tasks.spawn(async move {
        let mut messages = std::pin::pin!(messages);
        while let Some(demand) = messages.next().await {
            let concerned = demands.lock().heard(Instant::now(), demand);
            look_at(&queue, &concerned);
        }
    });
}

/// Functions by `namespace/name`.
fn look_at(queue: &WorkQueue, functions: &BTreeSet<String>) {
    let names = functions.iter().filter_map(|function| function.split_once('/'));
    names.for_each(|(namespace, name)| queue.add(ObjectKey::new(namespace, name)));
}

struct FunctionAutoscaler {
    client: kube::Client,
    informers: Informers,
    demands: Arc<Mutex<Demands>>,
    autoscalers: Mutex<BTreeMap<ObjectKey, Scaled>>,
    pools: Pools,
}

/// A function that is looked after.
struct Scaled {
    autoscaler: Autoscaler,
    /// Its uid.
    function: Option<String>,
    /// The uid of the set that served at the last look.
    set: Option<String>,
}

#[async_trait::async_trait]
impl Controller for FunctionAutoscaler {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let function = self.informers.functions.get(key);
        let Some(function) = function.filter(|f| f.metadata.deletion_timestamp.is_none()) else {
            self.autoscalers.lock().remove(key);
            self.demands.lock().forget(&key.to_string());
            return Ok(Next::Change);
        };
        let set = self.serving(&function);
        let (replicas, next) = self.decide(key, &function, set.as_deref());
        if let Some(set) = set.filter(|set| !self.pools.take(&function, set, replicas)) {
            self.scale(&set, replicas).await?;
        }
        Ok(next)
    }
}

impl FunctionAutoscaler {
    /// The ReplicaSet of the version that serves.
    fn serving(&self, function: &Function) -> Option<Arc<ReplicaSet>> {
        let version = function.status.as_ref()?.version?.to_string();
        let metadata = &function.metadata;
        let sets = &self.informers.replica_sets;
        let own = sets.controlled_by(metadata.namespace.as_deref()?, metadata.uid.as_deref()?);
        own.into_iter().find(|set| {
            let labels = set.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(Function::VERSION_LABEL)) == Some(&version)
        })
    }

    fn decide(
        &self,
        key: &ObjectKey,
        function: &Function,
        set: Option<&ReplicaSet>,
    ) -> (u32, Next) {
        let ready = set.and_then(|set| set.status.as_ref()?.ready_replicas);
        let ready = u32::try_from(ready.unwrap_or(0)).unwrap_or(0);
        let (now, limits) = (Instant::now(), Limits::of(function));
        let load = self.demands.lock().load(now, &key.to_string());
        let mut autoscalers = self.autoscalers.lock();
        let replicas = set.map_or(0, replicas_of);
        let serving = set.and_then(|set| set.metadata.uid.clone());
        let uid = &function.metadata.uid;
        // It may have been made anew unseen.
        if autoscalers.get(key).is_some_and(|scaled| scaled.function != *uid) {
            autoscalers.remove(key);
        }
        let known = autoscalers.entry(key.clone());
        let Scaled { autoscaler, set, .. } = known.or_insert_with(|| Scaled {
            autoscaler: Autoscaler::new(now, replicas),
            function: uid.clone(),
            set: serving.clone(),
        });
        if replicas > 0 && (*set != serving || is_being_tried(function)) {
            autoscaler.start_anew(now);
        }
        *set = serving;
        autoscaler.record(now, load);
        let replicas = autoscaler.decide(now, ready, &limits);
        let at_rest = autoscaler.is_at_rest(now, &limits);
        (replicas, if at_rest { Next::Change } else { Next::After(PERIOD) })
    }

    async fn scale(&self, set: &ReplicaSet, replicas: u32) -> Result<(), Error> {
        let now = replicas_of(set);
        if now == replicas || set.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let (Some(namespace), Some(name)) = (&set.metadata.namespace, &set.metadata.name) else {
            return Ok(());
        };
        tracing::info!(namespace, replica_set = name, from = now, to = replicas, "scaling");
        let api = Api::<ReplicaSet>::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"uid": set.metadata.uid}, "spec": {"replicas": replicas}});
        let written = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.unless_gone("scaling a ReplicaSet").map(drop)
    }
}

/// Whether it is not known yet if the version that serves can: that is found out, be there calls or not.
fn is_being_tried(function: &Function) -> bool {
    let building = |version: &FunctionVersion| version.phase == FunctionVersionPhase::Building;
    function.serving().is_some_and(building)
}

fn replicas_of(set: &ReplicaSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
}
