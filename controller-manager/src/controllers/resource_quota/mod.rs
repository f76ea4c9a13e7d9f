//! Counts what the objects of a namespace use of its ResourceQuotas (Kubernetes: `pkg/controller/resourcequota`). The API
//! server adds what comes, before it stores it; here the limits are taken over, and what has gone is taken away.

mod decision;
mod rest;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_machinery::Quantity;
use api_machinery::amounts::{self, Amounts};
use api_machinery::quota::{self, GroupResource, Item};
use api_types::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;

use super::garbage_collector::Monitors;
use crate::clock::Clock;
use crate::context::Context;
use crate::discovery::Discovery;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::informers::Informers;
use decision::Decision;
use rest::{REST, Rest};

/// How often all is counted anew: what the API server added for an object that it could not store, nobody tells.
const PERIOD: Duration = Duration::from_secs(60);
/// When it is tried again if the API server was faster.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) fn register(context: &Context, monitors: &Monitors) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(context, monitors, &queue);
    let controller = ResourceQuotas {
        client: context.client(),
        clock: context.clock,
        discovery: context.discovery.clone(),
        informers: context.informers.clone(),
        rests: Mutex::default(),
    };
    let Informers { resource_quotas, pods, services, persistent_volume_claims, .. } =
        &context.informers;
    Registered::new(controller, queue)
        .reads(resource_quotas)
        .reads(pods)
        .reads(services)
        .reads(persistent_volume_claims)
}

fn watch(context: &Context, monitors: &Monitors, queue: &Arc<WorkQueue>) {
    let informers = &context.informers;
    let changed = queue.clone();
    informers.resource_quotas.on_change(move |change: &Change<ResourceQuota>| {
        let is_counted = change.new.as_deref().is_some_and(decision::is_counted);
        if change.old.is_none() || !is_counted {
            changed.add(ObjectKey::of(&change.versions().next().expect("one of them").metadata));
        }
    });
    let about = About { quotas: Arc::downgrade(&informers.resource_quotas), queue: queue.clone() };
    let (clock, of_pods) = (context.clock, about.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        let usage = |pod: &Pod| Item::Pod(pod).usage(clock.now());
        let is_same = |old: &Pod, new: &Pod| {
            let same_scope = quota::is_terminating(old) == quota::is_terminating(new);
            same_scope && amounts::are_equal(&usage(old), &usage(new))
        };
        of_pods.less(("", "pods"), change, is_same);
    });
    let (clock, of_services) = (context.clock, about.clone());
    informers.services.on_change(move |change: &Change<Service>| {
        let usage = |service: &Service| Item::Service(service).usage(clock.now());
        let is_same = |old: &Service, new: &Service| amounts::are_equal(&usage(old), &usage(new));
        of_services.less(("", "services"), change, is_same);
    });
    let (clock, of_claims) = (context.clock, about.clone());
    informers.persistent_volume_claims.on_change(move |change: &Change<PersistentVolumeClaim>| {
        let usage = |claim: &PersistentVolumeClaim| Item::Claim(claim).usage(clock.now());
        let is_same = |old: &PersistentVolumeClaim, new: &PersistentVolumeClaim| {
            amounts::are_equal(&usage(old), &usage(new))
        };
        of_claims.less(("", "persistentvolumeclaims"), change, is_same);
    });
    monitors.on_removal(move |resource, namespace| {
        // Of those, more than that is looked at.
        if !matches!(resource, ("", "pods" | "services" | "persistentvolumeclaims")) {
            about.look(resource, namespace);
        }
    });
}

/// Who is to be looked at again.
#[derive(Clone)]
struct About {
    /// Not held: the stores would hold each other, and outlive their term.
    quotas: Weak<Informer<ResourceQuota>>,
    queue: Arc<WorkQueue>,
}

impl About {
    /// The quotas that limit such objects of the namespace.
    fn limiting(&self, resource: GroupResource<'_>, namespace: &str) -> Vec<Arc<ResourceQuota>> {
        let Some(quotas) = self.quotas.upgrade() else { return Vec::new() };
        let limits = |quota: &ResourceQuota| {
            let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
            let mut names = hard.into_iter().flatten().map(|(name, _)| name);
            names.any(|name| quota::charged_by(name) == Some(resource))
        };
        quotas.filter_in(namespace, limits)
    }

    /// All of those.
    fn look(&self, resource: GroupResource<'_>, namespace: &str) {
        for quota in self.limiting(resource, namespace) {
            self.queue.add(ObjectKey::of(&quota.metadata));
        }
    }

    /// The same if the object is gone, or uses something else, or of another quota, now. What comes was added already.
    fn less<K: kube::Resource>(
        &self,
        resource: GroupResource<'_>,
        change: &Change<K>,
        is_same: impl Fn(&K, &K) -> bool,
    ) {
        let Some(old) = &change.old else { return };
        let limiting = self.limiting(resource, old.meta().namespace.as_deref().unwrap_or_default());
        if limiting.is_empty() || change.new.as_ref().is_some_and(|new| is_same(old, new)) {
            return;
        }
        limiting.iter().for_each(|quota| self.queue.add(ObjectKey::of(&quota.metadata)));
    }
}

struct ResourceQuotas {
    client: Client,
    clock: Clock,
    discovery: Arc<Discovery>,
    informers: Informers,
    rests: Mutex<HashMap<ObjectKey, Rest>>,
}

#[async_trait::async_trait]
impl Controller for ResourceQuotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(quota) = self.informers.resource_quotas.get(key) else {
            self.rests.lock().remove(key);
            return Ok(Next::Change);
        };
        let version = quota.metadata.resource_version.as_deref().unwrap_or_default();
        let rested = self.of_rest(key, |rest| rest.is_enough(version, self.clock.now()));
        let counted = self.counted(&key.namespace, &quota).await?;
        match decision::decide(&quota, &counted, rested) {
            Decision::Keep => {
                self.of_rest(key, Rest::is_done);
                Ok(Next::After(PERIOD))
            }
            Decision::Later => {
                self.of_rest(key, |rest| rest.waits(self.clock.now()));
                Ok(Next::After(REST))
            }
            Decision::Write(status) => {
                let wanted = ResourceQuota { status: Some(status), ..(*quota).clone() };
                let api = Api::<ResourceQuota>::namespaced(self.client.clone(), &key.namespace);
                let written = api.replace_status(&key.name, &PostParams::default(), &wanted).await;
                match written.unless_gone("writing what is used of a quota") {
                    // Without giving way ever more: in a busy namespace it would get no turn.
                    Err(error) if error.is_conflict() => return Ok(Next::After(AGAIN)),
                    written => drop(written?),
                }
                self.of_rest(key, Rest::is_done);
                // What was not seen yet is to be added again.
                Ok(Next::After(REST))
            }
        }
    }
}

impl ResourceQuotas {
    /// Asks, or tells, what is known of a quota.
    fn of_rest<T>(&self, key: &ObjectKey, on: impl FnOnce(&mut Rest) -> T) -> T {
        on(self.rests.lock().entry(key.clone()).or_default())
    }

    /// What is used of what the quota limits.
    async fn counted(&self, namespace: &str, quota: &ResourceQuota) -> Result<Amounts, Error> {
        let Some(spec) = &quota.spec else { return Ok(Amounts::new()) };
        let names = || spec.hard.iter().flatten().map(|(name, _)| name);
        let known = names().filter(|name| quota::charged_by(name).is_some());
        let mut sum: Amounts = known.map(|name| (name.clone(), Quantity::from_units(0))).collect();
        let mut add = |item: Item<'_>, number: Option<i64>| {
            if item.is_in(spec) {
                let mut usage = item.usage(self.clock.now());
                let alike = number.map(Quantity::from_units);
                usage.values_mut().for_each(|amount| *amount = alike.unwrap_or(*amount));
                amounts::add(&mut sum, &usage);
            }
        };
        let resources: BTreeSet<GroupResource<'_>> =
            names().filter_map(|name| quota::charged_by(name)).collect();
        for resource in resources {
            match resource {
                ("", "pods") => {
                    let pods = self.informers.pods.filter_in(namespace, |_| true);
                    pods.iter().for_each(|pod| add(Item::Pod(pod), None));
                }
                ("", "services") => {
                    let services = self.informers.services.filter_in(namespace, |_| true);
                    services.iter().for_each(|service| add(Item::Service(service), None));
                }
                ("", "persistentvolumeclaims") => {
                    let claims = &self.informers.persistent_volume_claims;
                    let claims = claims.filter_in(namespace, |_| true);
                    claims.iter().for_each(|claim| add(Item::Claim(claim), None));
                }
                other => {
                    let number = self.number(other, namespace).await?;
                    add(Item::Other(other), Some(number));
                }
            }
        }
        sum.retain(|name, _| names().any(|limited| limited == name));
        Ok(sum)
    }

    /// How many objects of a resource there are in a namespace; none of one that nobody knows.
    async fn number(
        &self,
        (group, plural): GroupResource<'_>,
        namespace: &str,
    ) -> Result<i64, Error> {
        let found = self.discovery.recent().await.step("discovering what a quota counts")?;
        let mut found = found.all.iter().filter(|found| found.is_namespaced());
        let Some(found) = found.find(|found| {
            (found.resource.group.as_str(), found.resource.plural.as_str()) == (group, plural)
        }) else {
            return Ok(0);
        };
        // The API server tells how many there are beside.
        let one = ListParams::default().limit(1);
        let list = found.api(self.client.clone(), namespace).list(&one).await;
        let list = list.step("counting what a quota limits")?;
        let more = list.metadata.remaining_item_count.unwrap_or_default();
        Ok(more + i64::try_from(list.items.len()).unwrap_or(i64::MAX))
    }
}
