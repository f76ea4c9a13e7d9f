//! Says of DNS objects whether their hosts and paths are served. What is served is kube-proxy's business, which decides by
//! the same function who holds a path ([`api_machinery::host_routes`]).

mod status;

use std::sync::Arc;

use api_machinery::host_routes::Claim;
use api_types::api::core::v1::Service;
use api_types::api::networking::v1::Ingress;
use api_types::minik8s::Dns;
use component::events::Recorder;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::clock::Clock;
use crate::context::Context;
use crate::controllers::router::{self, Router};
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, Term, WorkQueue};
use crate::informers::Informers;

const NAME: &str = "dns-controller";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    let controller = Hosts {
        router: Router { client: context.client(), informers: context.informers.clone() },
        client: context.client(),
        clock: context.clock,
        informers: context.informers.clone(),
        recorder: context.recorder(NAME),
    };
    let Informers { dnses, ingresses, ingress_classes, services, .. } = &context.informers;
    let registered = Registered::new(controller, queue).reads(dnses).reads(ingresses);
    registered.reads(ingress_classes).reads(services)
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
    informers.ingresses.on_change(move |change: &Change<Ingress>| {
        let Some(dnses) = dnses.upgrade() else { return };
        for claim in change.versions().map(|ingress| Claim::of_ingress(ingress)) {
            let hosts = claim.hosts.into_iter().map(|host| Term::Host(host.to_owned()));
            let sharing = hosts.flat_map(|host| dnses.with(&host));
            sharing.for_each(|dns| wanted.add(ObjectKey::of(&dns.metadata)));
        }
    });
    let (wanted, dnses) = (queue.clone(), Arc::downgrade(&informers.dnses));
    informers.services.on_change(move |change: &Change<Service>| {
        let (Some(dnses), Some(service)) = (dnses.upgrade(), change.latest()) else { return };
        let key = ObjectKey::of(&service.metadata);
        let concerned = if key == router::key() {
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

fn names(dns: &Dns, service: &str) -> bool {
    dns.spec.paths.iter().any(|path| path.service.name == service)
}

struct Hosts {
    router: Router,
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
        let router = router::service(&self.informers);
        let kept = self.router.keep().await;
        if let Some(dns) = self.informers.dnses.get(key) {
            self.write_status(key, &dns, router.as_deref()).await?;
        }
        kept.map(|()| Next::Change)
    }
}

impl Hosts {
    async fn write_status(
        &self,
        key: &ObjectKey,
        dns: &Dns,
        router: Option<&Service>,
    ) -> Result<(), Error> {
        let host = Term::Host(dns.spec.host.clone());
        let (dnses, mut ingresses) =
            (self.informers.dnses.with(&host), self.informers.ingresses.with(&host));
        ingresses.retain(|ingress| router::serves(&self.informers, ingress));
        let sharing = dnses.iter().map(|dns| Claim::of_dns(dns));
        let sharing = sharing.chain(ingresses.iter().map(|ingress| Claim::of_ingress(ingress)));
        let service =
            |name: &str| self.informers.services.get(&ObjectKey::new(&key.namespace, name));
        let wanted = status::status(dns, sharing, service, router, self.clock.now());
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dns(uid: &str, address: &str) -> Arc<Dns> {
        let dns = json!({"metadata": {"uid": uid}, "status": {"address": address}});
        Arc::new(serde_json::from_value(dns).expect("it is a DNS object"))
    }

    #[test]
    fn an_object_that_was_made_anew_is_another_one() {
        let change = |old, new| Change { old: Some(old), new: Some(new) };
        assert!(is_status_alone(&change(dns("1", "10.96.0.7"), dns("1", "10.96.0.8"))));
        assert!(!is_status_alone(&change(dns("1", "10.96.0.7"), dns("2", "10.96.0.7"))));
        assert!(!is_status_alone(&Change { old: None, new: Some(dns("1", "10.96.0.7")) }));
    }
}
