//! Says of the Ingresses that the router serves at which addresses that is, and, in events, what of them leads nowhere.
//! What is served is kube-proxy's business, which decides by the same function who holds a path
//! ([`api_machinery::host_routes`]). Ingresses of other classes are left alone.

mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_machinery::host_routes::Claim;
use api_types::api::core::v1::{Node, Secret, Service};
use api_types::api::networking::v1::{
    Ingress, IngressClass, IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus,
};
use api_types::minik8s::Dns;
use component::events::{EventType, Recorder};
use component::server_certificate::SECRET_TYPE;
use kube::api::PostParams;
use kube::runtime::watcher::Config;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::controllers::router::{self, Router};
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, Term, Watched,
    WorkQueue,
};
use crate::informers::Informers;

use self::status::Problem;

const NAME: &str = "ingress-controller";

/// The Secrets with certificates, which others read, too.
pub(super) fn certificates(context: &Context, tasks: &mut JoinSet<()>) -> Arc<Informer<Secret>> {
    let secrets = Arc::new(Informer::default());
    tasks.spawn(follow(Api::all(context.client()), secrets.clone()));
    secrets
}

pub(super) fn register(context: &Context, secrets: &Arc<Informer<Secret>>) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let informers = context.informers.clone();
    watch_ingresses(&informers, &queue);
    watch_others(&informers, secrets, &queue);
    let controller = Ingresses {
        router: Router { client: context.client(), informers: informers.clone() },
        client: context.client(),
        informers,
        secrets: secrets.clone(),
        recorder: context.recorder(NAME),
        told: Mutex::default(),
    };
    let Informers { dnses, ingresses, ingress_classes, services, nodes, .. } = &context.informers;
    let registered = Registered::new(controller, queue).reads(dnses).reads(ingresses);
    registered.reads(ingress_classes).reads(services).reads(nodes).reads(&**secrets)
}

/// Of all Secrets only those with certificates are held.
async fn follow(api: Api<Secret>, secrets: Arc<Informer<Secret>>) {
    let only = Config::default().fields(&format!("type={SECRET_TYPE}"));
    secrets.follow(watcher(api, only).default_backoff()).await;
}

/// The handlers must not hold the objects for ever.
fn watch_ingresses(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (wanted, ingresses) = (queue.clone(), Arc::downgrade(&informers.ingresses));
    informers.ingresses.on_change(move |change: &Change<Ingress>| {
        change.latest().iter().for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
        let Some(ingresses) = ingresses.upgrade().filter(|_| !is_status_alone(change)) else {
            return;
        };
        for claim in change.versions().map(|ingress| Claim::of_ingress(ingress)) {
            let hosts = claim.hosts.into_iter().map(|host| Term::Host(host.to_owned()));
            let sharing = hosts.flat_map(|host| ingresses.with(&host));
            sharing.for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
        }
    });
    let (wanted, ingresses) = (queue.clone(), Arc::downgrade(&informers.ingresses));
    informers.dnses.on_change(move |change| {
        let Some(ingresses) = ingresses.upgrade() else { return };
        for host in change.versions().map(|dns| dns.spec.host.clone()) {
            let sharing = ingresses.with(&Term::Host(host));
            sharing.iter().for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
        }
    });
    let (wanted, ingresses) = (queue.clone(), Arc::downgrade(&informers.ingresses));
    informers.ingress_classes.on_change(move |_: &Change<IngressClass>| {
        let all = ingresses.upgrade().map(|ingresses| ingresses.list()).unwrap_or_default();
        all.iter().for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
    });
}

fn watch_others(informers: &Informers, secrets: &Informer<Secret>, queue: &Arc<WorkQueue>) {
    let (wanted, ingresses) = (queue.clone(), Arc::downgrade(&informers.ingresses));
    informers.services.on_change(move |change: &Change<Service>| {
        let (Some(ingresses), Some(service)) = (ingresses.upgrade(), change.latest()) else {
            return;
        };
        let key = ObjectKey::of(&service.metadata);
        let concerned = if key == router::key() {
            wanted.add(key.clone());
            ingresses.list()
        } else {
            ingresses.filter_in(&key.namespace, |it| status::names_service(it, &key.name))
        };
        concerned.iter().for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
    });
    let (wanted, ingresses) = (queue.clone(), Arc::downgrade(&informers.ingresses));
    secrets.on_change(move |change: &Change<Secret>| {
        let (Some(ingresses), Some(secret)) = (ingresses.upgrade(), change.latest()) else {
            return;
        };
        let key = ObjectKey::of(&secret.metadata);
        let concerned =
            ingresses.filter_in(&key.namespace, |it| status::names_secret(it, &key.name));
        concerned.iter().for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
    });
    let (wanted, ingresses) = (queue.clone(), Arc::downgrade(&informers.ingresses));
    informers.nodes.on_change(move |change: &Change<Node>| {
        let points = |node: &Option<Arc<Node>>| status::addresses(node.as_deref());
        if points(&change.old) == points(&change.new) {
            return;
        }
        let all = ingresses.upgrade().map(|ingresses| ingresses.list()).unwrap_or_default();
        all.iter().for_each(|ingress| wanted.add(ObjectKey::of(&ingress.metadata)));
    });
}

fn is_status_alone(change: &Change<Ingress>) -> bool {
    let both = change.old.as_ref().zip(change.new.as_ref());
    let same = |old: &Ingress, new: &Ingress| {
        (&old.spec, &old.metadata.annotations) == (&new.spec, &new.metadata.annotations)
    };
    // One of the name that was made anew is younger.
    both.is_some_and(|(old, new)| same(old, new) && old.metadata.uid == new.metadata.uid)
}

struct Ingresses {
    router: Router,
    client: Client,
    informers: Informers,
    secrets: Arc<Informer<Secret>>,
    recorder: Recorder,
    /// What of each was told last.
    told: Mutex<HashMap<ObjectKey, Vec<Problem>>>,
}

#[async_trait::async_trait]
impl Controller for Ingresses {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let kept = self.router.keep().await;
        match self.informers.ingresses.get(key) {
            Some(ingress) if router::serves(&self.informers, &ingress) => {
                self.tell(key, &ingress);
                self.write_status(key, &ingress, self.points()).await?;
            }
            others => {
                drop(self.told.lock().remove(key));
                // It was the router's: what another controller has written stays.
                let left = others.filter(|ingress| status::written(ingress) == self.points());
                if let Some(ingress) = left {
                    self.write_status(key, &ingress, Vec::new()).await?;
                }
            }
        }
        kept.map(|()| Next::Change)
    }
}

impl Ingresses {
    /// Each problem once, as long as it lasts.
    fn tell(&self, key: &ObjectKey, ingress: &Ingress) {
        let (dnses, ingresses) = self.sharing(ingress);
        let claims = dnses.iter().map(|dns| Claim::of_dns(dns));
        let claims = claims.chain(ingresses.iter().map(|it| Claim::of_ingress(it)));
        let named = |name: &str| ObjectKey::new(&key.namespace, name);
        let problems = status::problems(
            ingress,
            claims,
            |name| self.informers.services.get(&named(name)),
            |name| self.secrets.get(&named(name)),
        );
        let before = match problems.is_empty() {
            true => self.told.lock().remove(key),
            false => self.told.lock().insert(key.clone(), problems.clone()),
        };
        let before = before.unwrap_or_default();
        for (reason, message) in problems.iter().filter(|problem| !before.contains(problem)) {
            self.recorder.about(ingress, EventType::Warning, reason, message.clone());
        }
        if problems.is_empty() && !before.is_empty() {
            let well = "all of its paths lead to services".to_owned();
            self.recorder.about(ingress, EventType::Normal, "Resolved", well);
        }
    }

    /// Those that name a host of the Ingress, which is among them.
    fn sharing(&self, ingress: &Ingress) -> (Vec<Arc<Dns>>, Vec<Arc<Ingress>>) {
        let terms = ingress.terms();
        let dnses = terms.iter().flat_map(|term| self.informers.dnses.with(term)).collect();
        let ingresses = terms.iter().flat_map(|term| self.informers.ingresses.with(term));
        let ours = ingresses.filter(|it| router::serves(&self.informers, it));
        // An Ingress may share several hosts.
        let distinct: BTreeMap<_, _> = ours.map(|it| (it.metadata.uid.clone(), it)).collect();
        (dnses, distinct.into_values().collect())
    }

    fn points(&self) -> Vec<IngressLoadBalancerIngress> {
        let (nodes, service) = (self.informers.nodes.list(), router::service(&self.informers));
        status::points(nodes.iter().map(AsRef::as_ref), service.as_deref())
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        ingress: &Ingress,
        points: Vec<IngressLoadBalancerIngress>,
    ) -> Result<(), Error> {
        if status::written(ingress) == points {
            return Ok(());
        }
        let points = (!points.is_empty()).then_some(points);
        let balancer = Some(IngressLoadBalancerStatus { ingress: points });
        let status = Some(IngressStatus { load_balancer: balancer });
        let changed = Ingress { status, ..ingress.clone() };
        let api = Api::<Ingress>::namespaced(self.client.clone(), &key.namespace);
        let written = api.replace_status(&key.name, &PostParams::default(), &changed).await;
        written.unless_gone("writing the status of an Ingress").map(drop)
    }
}
