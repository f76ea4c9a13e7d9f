//! Says of the ranges of Services' addresses that they are ready, and keeps one that is to go for as long as an address of it is
//! in use (Kubernetes: `pkg/controller/servicecidrs`). Who gives out addresses heeds `Ready`, and that a range is to go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::networking::v1::{IPAddress, ServiceCIDR};
use api_types::meta::{Condition, Time};
use component::network::Networks;
use ipnet::IpNet;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};

const NAME: &str = "service-cidr-controller";
/// The object of API servers' own range, whose text these ignore: it may be of a server of before.
const DEFAULT: &str = "kubernetes";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// Addresses that API servers have given to Services.
const GIVEN: &str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io";
/// So long a server may take to hear that a range is to go: until then it may give out one more of its addresses.
const GRACE: Duration = Duration::from_secs(10);
/// How often a range that is held up is looked at: addresses are not followed for it.
const HELD_UP: Duration = Duration::from_secs(5);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let ranges = context.informers.service_cidrs.clone();
    let (to, all) = (queue.clone(), Arc::downgrade(&ranges));
    // Another range may be what one that is to go waits for.
    ranges.on_change(move |_: &Change<ServiceCIDR>| {
        let Some(all) = all.upgrade() else { return };
        all.list().iter().for_each(|range| to.add(ObjectKey::of(&range.metadata)));
    });
    let controller = Ranges {
        client: context.client(),
        clock: context.clock,
        own: context.settings.service_cidr,
        ranges: ranges.clone(),
    };
    Registered::new(controller, queue).reads(&*ranges)
}

struct Ranges {
    client: Client,
    clock: Clock,
    /// Those of the API servers, which give addresses whatever their object says.
    own: Networks,
    ranges: Arc<Informer<ServiceCIDR>>,
}

#[async_trait::async_trait]
impl Controller for Ranges {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(range) = self.ranges.get(key) else { return Ok(Next::Change) };
        let Some(since) = &range.metadata.deletion_timestamp else {
            self.set_finalizers(&range, with_finalizer(&range)).await?;
            self.tell(&range, "True", "", "Kubernetes Service CIDR is ready").await?;
            return Ok(Next::Change);
        };
        let Some(left) = without_finalizer(&range) else { return Ok(Next::Change) };
        if self.holds(&range).await? {
            let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            self.tell(&range, "False", "Terminating", why).await?;
            return Ok(Next::After(HELD_UP));
        }
        let over = Duration::try_from(self.clock.now().duration_since(since.0)).unwrap_or_default();
        if let Some(rest) = GRACE.checked_sub(over).filter(|rest| !rest.is_zero()) {
            return Ok(Next::After(rest));
        }
        self.set_finalizers(&range, Some(left)).await?;
        Ok(Next::Change)
    }
}

impl Ranges {
    /// Whether an address in use would be in no range any more.
    async fn holds(&self, range: &ServiceCIDR) -> Result<bool, Error> {
        let all = self.ranges.list();
        let others = all.iter().filter(|other| other.metadata.uid != range.metadata.uid);
        let others = others.filter(|other| gives(other)).flat_map(|other| nets(other));
        let others: Vec<_> = others.chain(self.own.iter()).collect();
        let own = nets(range);
        if own.iter().all(|net| others.iter().any(|other| other.contains(net))) {
            return Ok(false);
        }
        let api = Api::<IPAddress>::all(self.client.clone());
        let given = api.list_metadata(&ListParams::default().labels(GIVEN)).await;
        let given = given.step("looking for addresses of a range")?;
        let names = given.items.iter().filter_map(|address| address.metadata.name.as_deref());
        let mut addresses = names.filter_map(|name| name.parse::<IpAddr>().ok());
        Ok(addresses.any(|address| {
            let is_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
            is_in(&own) && !is_in(&others)
        }))
    }

    async fn set_finalizers(
        &self,
        range: &ServiceCIDR,
        finalizers: Option<Vec<String>>,
    ) -> Result<(), Error> {
        let Some(finalizers) = finalizers else { return Ok(()) };
        let patch = Patch::Merge(json!({"metadata": {
            "uid": range.metadata.uid, "resourceVersion": range.metadata.resource_version,
            "finalizers": finalizers,
        }}));
        let api = Api::<ServiceCIDR>::all(self.client.clone());
        let patched = api.patch(name(range), &PatchParams::default(), &patch).await;
        patched.unless_gone("writing a service range's finalizers").map(drop)
    }

    async fn tell(
        &self,
        range: &ServiceCIDR,
        status: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let told = conditions(range).iter().find(|told| told.type_ == "Ready");
        let is_told = |told: &Condition| {
            told.status == status && told.reason == reason && told.message == message
        };
        if told.is_some_and(is_told) {
            return Ok(());
        }
        let since =
            told.filter(|told| told.status == status).map(|told| told.last_transition_time.clone());
        let since = since.unwrap_or_else(|| Time(self.clock.now()));
        let ready = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since});
        let patch =
            json!({"metadata": {"uid": range.metadata.uid}, "status": {"conditions": [ready]}});
        let api = Api::<ServiceCIDR>::all(self.client.clone());
        let patch = Patch::Strategic(patch);
        let patched = api.patch_status(name(range), &PatchParams::default(), &patch).await;
        patched.unless_gone("telling of a service range").map(drop)
    }
}

fn name(range: &ServiceCIDR) -> &str {
    range.metadata.name.as_deref().unwrap_or_default()
}

/// Whether API servers give out its addresses by what its object says.
fn gives(range: &ServiceCIDR) -> bool {
    let is_ready = |told: &Condition| told.type_ == "Ready" && told.status == "True";
    range.metadata.deletion_timestamp.is_none()
        && name(range) != DEFAULT
        && conditions(range).iter().any(is_ready)
}

fn nets(range: &ServiceCIDR) -> Vec<IpNet> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
    cidrs.into_iter().flatten().filter_map(|cidr| cidr.parse().ok()).collect()
}

fn conditions(range: &ServiceCIDR) -> &[Condition] {
    let status = range.status.as_ref().and_then(|status| status.conditions.as_deref());
    status.unwrap_or_default()
}

fn finalizers(range: &ServiceCIDR) -> &[String] {
    range.metadata.finalizers.as_deref().unwrap_or_default()
}

/// The finalizers with this one, if it is not among them.
fn with_finalizer(range: &ServiceCIDR) -> Option<Vec<String>> {
    let there = finalizers(range);
    let is_there = there.iter().any(|it| it == FINALIZER);
    (!is_there).then(|| there.iter().cloned().chain([FINALIZER.to_owned()]).collect())
}

/// The finalizers without this one, if it is among them.
fn without_finalizer(range: &ServiceCIDR) -> Option<Vec<String>> {
    let there = finalizers(range);
    there.iter().any(|it| it == FINALIZER).then_some(())?;
    Some(there.iter().filter(|it| *it != FINALIZER).cloned().collect())
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::Service;
    use api_types::jiff::Timestamp;
    use kube::api::{DeleteParams, PostParams};
    use kube::runtime::watcher::Event;
    use testkit::ControlPlane;

    use super::*;

    /// A range, what its controller does, and the time that it goes by.
    struct Stage {
        api: Api<ServiceCIDR>,
        ranges: Ranges,
    }

    impl Stage {
        fn start(plane: &ControlPlane) -> Self {
            let api = Api::<ServiceCIDR>::all(plane.client());
            let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
            let own = "10.96.0.0/16".parse().unwrap();
            let ranges = Ranges { client: plane.client(), clock, own, ranges: Arc::default() };
            Self { api, ranges }
        }

        /// A range that gives addresses.
        async fn make(&mut self, name: &str, cidr: &str) {
            let range = json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
            let range = serde_json::from_value(range).unwrap();
            self.api.create(&PostParams::default(), &range).await.unwrap();
            assert_eq!(self.look(name, Duration::ZERO).await, Next::Change);
            assert_eq!(self.told(name).await, "True ");
        }

        /// Deletes it; from now on it is the time of that.
        async fn delete(&mut self, name: &str) -> Timestamp {
            let gone = self.api.delete(name, &DeleteParams::default()).await.unwrap();
            let since = gone.left().unwrap().metadata.deletion_timestamp.unwrap().0;
            self.ranges.clock = Clock::starting_at(since);
            since
        }

        async fn look(&mut self, name: &str, after: Duration) -> Next {
            self.ranges.clock = Clock::starting_at(self.ranges.clock.now() + after);
            for range in self.api.list(&ListParams::default()).await.unwrap() {
                self.ranges.ranges.take_in(Event::Apply(range));
            }
            self.ranges.reconcile(&ObjectKey::cluster(name)).await.unwrap()
        }

        async fn told(&self, name: &str) -> String {
            // After a list the server itself knows, too.
            let all = self.api.list(&ListParams::default()).await.unwrap();
            let named = |range: &&ServiceCIDR| range.metadata.name.as_deref() == Some(name);
            let range = all.items.iter().find(named).unwrap();
            let told = conditions(range).iter().find(|told| told.type_ == "Ready").unwrap();
            format!("{} {}", told.status, told.reason)
        }
    }

    /// A Service that has this address.
    async fn serve(plane: &ControlPlane, address: &str) -> Api<Service> {
        let services = Api::<Service>::namespaced(plane.client(), "default");
        let service = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}});
        let service = serde_json::from_value(service).unwrap();
        services.create(&PostParams::default(), &service).await.unwrap();
        services
    }

    #[tokio::test]
    async fn a_range_goes_once_nobody_has_an_address_of_it_and_every_server_knows() {
        let plane = ControlPlane::start().await;
        let mut stage = Stage::start(&plane);
        stage.make("more", "192.0.2.0/24").await;
        assert_eq!(finalizers(&stage.api.get("more").await.unwrap()), [FINALIZER]);

        let services = serve(&plane, "192.0.2.9").await;
        let since = stage.delete("more").await;
        assert_eq!(stage.look("more", GRACE * 2).await, Next::After(HELD_UP));
        assert_eq!(stage.told("more").await, "False Terminating");

        services.delete("a", &DeleteParams::default()).await.unwrap();
        stage.ranges.clock = Clock::starting_at(since);
        assert!(
            matches!(stage.look("more", GRACE / 2).await, Next::After(rest) if rest <= GRACE / 2)
        );
        stage.look("more", GRACE).await;
        assert!(stage.api.get_opt("more").await.unwrap().is_none());
    }
    #[tokio::test]
    async fn ranges_that_go_together_do_not_stand_in_for_each_other() {
        let plane = ControlPlane::start().await;
        let mut stage = Stage::start(&plane);
        stage.make("wide", "192.0.2.0/24").await;
        stage.make("narrow", "192.0.2.0/25").await;
        serve(&plane, "192.0.2.9").await;
        stage.delete("wide").await;
        stage.delete("narrow").await;
        assert_eq!(stage.look("wide", GRACE * 2).await, Next::After(HELD_UP));
        assert_eq!(stage.look("narrow", GRACE).await, Next::After(HELD_UP));
    }

    #[tokio::test]
    async fn the_server_s_own_range_stands_in_for_a_part_of_it() {
        let plane = ControlPlane::start().await;
        let mut stage = Stage::start(&plane);
        stage.make("part", "10.96.0.0/24").await;
        serve(&plane, "10.96.0.9").await;
        stage.delete("part").await;
        assert_eq!(stage.look("part", GRACE * 2).await, Next::Change);
        assert!(stage.api.get_opt("part").await.unwrap().is_none());
    }

    #[test]
    fn a_range_counts_if_it_gives_addresses() {
        let range = |metadata: &str, ready: &str| -> ServiceCIDR {
            let condition = json!({"type": "Ready", "status": ready, "reason": "", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
            let range = json!({"metadata": metadata, "status": {"conditions": [condition]}});
            serde_json::from_value(range).unwrap()
        };
        assert!(gives(&range(r#"{"name": "more"}"#, "True")));
        assert!(!gives(&range(r#"{"name": "more"}"#, "False")));
        assert!(!gives(&range(r#"{"name": "kubernetes"}"#, "True")));
        let going = r#"{"name": "more", "deletionTimestamp": "2026-01-01T00:00:00Z"}"#;
        assert!(!gives(&range(going, "True")));
    }
}
