//! What the requests of a server share. Who needs but one part of it is given that part.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    authentication::{Absent, Authenticator},
    authorizer::Authorizer,
    catalogue::InForce,
    config::{Config, RequestLimits},
    delegates::Delegates,
    duties::Duties,
    flow_control::{FlowControl, InFlight, Limits},
    metrics::Metrics,
    objects::Objects,
    openapi::OpenApi,
    pod_client::PodClient,
    storage::Storage,
    usage::Usages,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) catalogue: InForce,
    pub(crate) storage: Arc<Storage>,
    /// Who serves what this server doesn't.
    pub(crate) delegates: Arc<Delegates>,
    pub(crate) admission: Admission,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) openapi: OpenApi,
    pub(crate) usages: Arc<Usages>,
    /// What tokens name in vain.
    pub(crate) absent: Absent,
    /// To servers in pods.
    pub(crate) pods: PodClient,
    /// Tells that the server is going to stop, though it still serves.
    pub(crate) leaving: CancellationToken,
    /// Ends watches and background work.
    pub(crate) shutdown: CancellationToken,
    /// What a stop waits for.
    pub(crate) tasks: TaskTracker,
    pub(crate) duties: Duties,
}

/// What a write goes through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WritePath<'a> {
    pub(crate) admission: &'a Admission,
    pub(crate) storage: &'a Storage,
}

impl State {
    /// That of a server of these kinds.
    pub(crate) fn new(
        config: Config,
        catalogue: InForce,
        storage: Storage,
        metrics: Metrics,
    ) -> Self {
        let (storage, shutdown, tasks) =
            (Arc::new(storage), CancellationToken::new(), TaskTracker::new());
        let authorizer = Arc::new(Authorizer::new(&catalogue, &storage));
        let delegates = Arc::new(Delegates::new(config.front_proxy.clone()));
        Self {
            admission: Admission::standard(&storage, &catalogue, &authorizer, &config),
            authorizer,
            openapi: OpenApi::new(catalogue.clone(), delegates.clone()),
            delegates,
            usages: Usages::new(config.kubelet_client.as_ref()).into(),
            limits: limits(config.request_limits, &metrics),
            absent: Absent::default(),
            pods: PodClient::default(),
            duties: Duties::new(tasks.clone(), shutdown.clone()),
            leaving: CancellationToken::new(),
            shutdown,
            tasks,
            config,
            catalogue,
            storage,
            metrics,
        }
    }

    pub(crate) fn objects(&self) -> Objects<'_> {
        Objects { catalogue: &self.catalogue, storage: &self.storage }
    }

    pub(crate) fn write_path(&self) -> WritePath<'_> {
        WritePath { admission: &self.admission, storage: &self.storage }
    }

    pub(crate) fn authenticator(&self) -> Authenticator<'_> {
        let Config { tokens, oidc, token_webhook, .. } = &self.config;
        let (objects, absent) = (self.objects(), &self.absent);
        let webhook = token_webhook.as_ref();
        Authenticator { tokens, objects, absent, oidc, webhook }
    }
}

fn limits(RequestLimits { fair, reads, writes }: RequestLimits, metrics: &Metrics) -> Limits {
    if fair {
        let seats = reads.saturating_add(writes);
        Limits::Fair(Box::new(FlowControl::new(seats, metrics.flow.clone())))
    } else {
        Limits::InFlight(InFlight::new(reads, writes))
    }
}
