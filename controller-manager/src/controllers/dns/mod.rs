//! Says of DNS objects whether their hosts and paths are served, and keeps the Service whose address the hosts lead to as
//! long as there are any. What is served is kube-proxy's business, which decides by the same function who holds a path
//! ([`api_machinery::host_routes`]).

mod status;

use std::sync::Arc;

use api_machinery::host_routes::{ROUTER, is_router};
use api_types::api::core::v1::Service;
use api_types::minik8s::Dns;
use component::events::Recorder;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Next, ObjectKey, Registered, Step, Term, WorkQueue, code,
};
use crate::informers::Informers;

const NAME: &str = "dns-controller";
/// Tells the router from a Service of somebody's that has its name.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "minik8s");

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    let controller = Hosts {
        client: context.client(),
        clock: context.clock,
        informers: context.informers.clone(),
        recorder: context.recorder(NAME),
    };
    let Informers { dnses, services, .. } = &context.informers;
    Registered::new(controller, queue).reads(dnses).reads(services)
}

/// The handlers must not hold the objects for ever.
fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (wanted, dnses) = (queue.clone(), Arc::downgrade(&informers.dnses));
    informers.dnses.on_change(move |change: &Change<Dns>| {
        change.latest().iter().for_each(|dns| wanted.add(ObjectKey::of(&dns.metadata)));
        let Some(dnses) = dnses.upgrade().filter(|_| !is_status_alone(change)) else { return };
        for host in change.versions().map(|dns| &dns.spec.host) {
            let sharing = dnses.with(&Term::Host(host.clone()));
            sharing.iter().for_each(|dns| wanted.add(ObjectKey::of(&dns.metadata)));
        }
    });
    let (wanted, dnses) = (queue.clone(), Arc::downgrade(&informers.dnses));
    informers.services.on_change(move |change: &Change<Service>| {
        let (Some(dnses), Some(service)) = (dnses.upgrade(), change.latest()) else { return };
        let key = ObjectKey::of(&service.metadata);
        let concerned = if is_router(service) {
            wanted.add(key);
            dnses.list()
        } else {
            dnses.filter_in(&key.namespace, |dns| names(dns, &key.name))
        };
        concerned.iter().for_each(|dns| wanted.add(ObjectKey::of(&dns.metadata)));
    });
}

fn is_status_alone(change: &Change<Dns>) -> bool {
    let both = change.old.as_ref().zip(change.new.as_ref());
    // One of the name that was made anew is younger.
    both.is_some_and(|(old, new)| old.spec == new.spec && old.metadata.uid == new.metadata.uid)
}

fn is_managed(service: &Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1)
}

fn names(dns: &Dns, service: &str) -> bool {
    dns.spec.paths.iter().any(|path| path.service.name == service)
}

struct Hosts {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
}

#[async_trait::async_trait]
impl Controller for Hosts {
    fn name(&self) -> &'static str {
        NAME
    }

    /// The key may be the router's, which is looked at with whichever object. An object is told of its paths even though
    /// the router can't be made.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let router = self.informers.services.get(&ObjectKey::new(ROUTER.0, ROUTER.1));
        let is_wanted = !self.informers.dnses.list().is_empty();
        let kept = match &router {
            None if is_wanted => self.make_router().await,
            Some(router) if !is_wanted && is_managed(router) => self.remove_router(router).await,
            _ => Ok(()),
        };
        if let Some(dns) = self.informers.dnses.get(key) {
            self.write_status(key, &dns, router.as_deref()).await?;
        }
        kept.map(|()| Next::Change)
    }
}

impl Hosts {
    /// It has no endpoints: each node's kube-proxy has an nginx at its address.
    async fn make_router(&self) -> Result<(), Error> {
        let router = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": ROUTER.1, "labels": {"k8s-app": ROUTER.1, MANAGED_BY.0: MANAGED_BY.1}},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        });
        let router = serde_json::from_value(router).expect("it is a Service");
        let created = self.services().create(&PostParams::default(), &router).await;
        match created {
            // Another worker was faster.
            Err(error) if code(&error) == Some(409) => Ok(()),
            created => created.step("making the Service of the hosts' router").map(drop),
        }
    }

    async fn remove_router(&self, router: &Service) -> Result<(), Error> {
        let this_one = Preconditions { uid: router.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().preconditions(this_one);
        let removed = self.services().delete(ROUTER.1, &params).await;
        removed.unless_gone("removing the Service of the hosts' router").map(drop)
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        dns: &Dns,
        router: Option<&Service>,
    ) -> Result<(), Error> {
        let sharing = self.informers.dnses.with(&Term::Host(dns.spec.host.clone()));
        let service =
            |name: &str| self.informers.services.get(&ObjectKey::new(&key.namespace, name));
        let wanted = status::status(dns, &sharing, service, router, self.clock.now());
        if dns.status.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let news = status::news(dns, &wanted);
        let changed = Dns { status: Some(wanted), ..dns.clone() };
        let api = Api::<Dns>::namespaced(self.client.clone(), &key.namespace);
        let written = api.replace_status(&key.name, &PostParams::default(), &changed).await;
        if written.unless_gone("writing the status of a DNS object")?.is_some() {
            for (type_, reason, message) in news {
                self.recorder.about(dns, type_, &reason, message);
            }
        }
        Ok(())
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), ROUTER.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(uid: &str, address: &str) -> Arc<Dns> {
        let dns = json!({"metadata": {"uid": uid}, "status": {"address": address}});
        Arc::new(serde_json::from_value(dns).expect("it is a DNS object"))
    }

    /// That ours goes is shown by `tests/controllers`.
    #[test]
    fn a_service_of_somebodys_with_the_routers_name_is_not_ours() {
        let labelled = |labels: serde_json::Value| -> Service {
            let service = json!({"metadata": {"name": ROUTER.1, "labels": labels}});
            serde_json::from_value(service).expect("it is a Service")
        };
        assert!(!is_managed(&labelled(json!(null))));
        assert!(!is_managed(&labelled(json!({"k8s-app": ROUTER.1}))));
        assert!(!is_managed(&labelled(json!({MANAGED_BY.0: "Helm"}))));
        assert!(is_managed(&labelled(json!({MANAGED_BY.0: MANAGED_BY.1}))));
    }

    #[test]
    fn an_object_that_was_made_anew_is_another_one() {
        let change = |old, new| Change { old: Some(old), new: Some(new) };
        assert!(is_status_alone(&change(dns("1", "10.96.0.7"), dns("1", "10.96.0.8"))));
        assert!(!is_status_alone(&change(dns("1", "10.96.0.7"), dns("2", "10.96.0.7"))));
        assert!(!is_status_alone(&Change { old: None, new: Some(dns("1", "10.96.0.7")) }));
    }
}
