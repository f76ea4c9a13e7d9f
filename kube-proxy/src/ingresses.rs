//! What the API server says about Ingresses, about whose they are, and about the Secrets with their certificates.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api_machinery::host_routes::{Secret as SecretName, class_of, is_served};
use api_types::api::{
    core::v1::{Node, Secret},
    networking::v1::{Ingress, IngressClass},
};
use component::server_certificate::{SECRET_TYPE, ServerCertificate};
use futures::{
    Stream, StreamExt,
    future::{self, BoxFuture},
};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event},
    },
};
use listwatch::{ListWatch, Scope, absent_is_empty};
use parking_lot::Mutex;
use tracing::warn;

use crate::{nginx::http::Certificate, self_made};

/// The Ingresses, and what is needed to serve them. Clones share it.
#[derive(Clone)]
pub(crate) struct Ingresses {
    ingresses: Store<Ingress>,
    classes: Store<IngressClass>,
    secrets: Store<Secret>,
    listed: Arc<[AtomicBool; 3]>,
    certificates: Arc<Mutex<Certificates>>,
}

/// What is in Secrets is told nobody.
impl fmt::Debug for Ingresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingresses").field("listed", &self.listed).finish_non_exhaustive()
    }
}

/// What was found in Secrets, at which version of them.
type Certificates = HashMap<ObjectRef<Secret>, (Option<String>, Option<Certificate>)>;

/// A watch of one kind.
pub(crate) type Watch = BoxFuture<'static, ()>;

impl Ingresses {
    /// What has to be polled for them to be kept up to date, and `note` to be called after changes.
    pub(crate) fn watch(
        listwatch: &ListWatch,
        note: impl Fn(&Ingresses) + Clone + Send + 'static,
    ) -> (Self, [Watch; 3]) {
        let (ingresses, of_ingresses) = reflector::store();
        let (classes, of_classes) = reflector::store();
        let (secrets, of_secrets) = reflector::store();
        let (listed, certificates) = Default::default();
        let this = Ingresses { ingresses, classes, secrets, listed, certificates };
        let following = |number: usize| {
            let (this, note) = (this.clone(), note.clone());
            move |is_list: bool| {
                if is_list {
                    this.listed[number].store(true, Ordering::Release);
                }
                note(&this);
            }
        };
        let api = Api::<Secret>::all(listwatch.client().clone());
        let certificates = watcher::Config::default().fields(&format!("type={SECRET_TYPE}"));
        // By no topic: what is in Secrets is on none.
        let secrets = watcher::watcher(api, certificates).default_backoff();
        let watches = [
            follow(
                absent_is_empty(listwatch.watch(Scope::All)).reflect(of_ingresses),
                following(0),
            ),
            follow(absent_is_empty(listwatch.watch(Scope::All)).reflect(of_classes), following(1)),
            follow(absent_is_empty(secrets).reflect(of_secrets), following(2)),
        ];
        (this, watches)
    }

    /// Whether all are here.
    pub(crate) fn are_listed(&self) -> bool {
        self.listed.iter().all(|listed| listed.load(Ordering::Acquire))
    }

    /// Waits until they are.
    pub(crate) async fn ready(&self) {
        // An error means that the watches have ended: the program is stopping.
        let _ = future::join3(
            self.ingresses.wait_until_ready(),
            self.classes.wait_until_ready(),
            self.secrets.wait_until_ready(),
        )
        .await;
    }

    /// Those that are the router's.
    pub(crate) fn served(&self) -> Vec<Arc<Ingress>> {
        let mut all = self.ingresses.state();
        all.retain(|ingress| {
            let class = class_of(ingress).and_then(|name| self.classes.get(&ObjectRef::new(name)));
            class.is_some_and(|class| is_served(&class))
        });
        all
    }

    /// The certificate of a Secret, if it has one that can be used. What is amiss is told by the controller.
    pub(crate) fn certificate(&self, name: SecretName<'_>) -> Option<Certificate> {
        let name = ObjectRef::new(name.name).within(name.namespace);
        let mut known = self.certificates.lock();
        let Some(secret) = self.secrets.get(&name) else {
            known.remove(&name);
            return None;
        };
        let version = &secret.metadata.resource_version;
        if let Some((_, certificate)) = known.get(&name).filter(|(of, _)| of == version) {
            return certificate.clone();
        }
        let found = ServerCertificate::of(&secret);
        let certificate = found.ok().map(|found| self_made::pem_of(&found));
        known.insert(name, (version.clone(), certificate.clone()));
        certificate
    }
}

/// The internal addresses of these nodes.
pub(crate) fn addresses<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<IpAddr> {
    let all = nodes.into_iter().filter_map(|node| node.status.as_ref()?.addresses.as_ref());
    let internal = all.flatten().filter(|address| address.type_ == "InternalIP");
    internal.filter_map(|address| address.address.parse().ok()).collect()
}

/// Polls a watch of one kind; `note` is called after changes, with whether a list is complete.
pub(crate) fn follow<K: Send + 'static>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    note: impl Fn(bool) + Send + 'static,
) -> Watch {
    Box::pin(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init | Event::InitApply(_)) => {}
                Ok(event) => note(matches!(event, Event::InitDone)),
                Err(error) => warn!(%error, "watching"),
            }
        }
    })
}
