//! What the requests of a server share. Who needs but one part of it is given that part.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    authentication::{Absent, Authenticator},
    catalogue::InForce,
    config::Config,
    duties::Duties,
    metrics::Metrics,
    objects::Objects,
    openapi::OpenApi,
    pod_client::PodClient,
    rbac::Rbac,
    storage::Storage,
    usage::Usages,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) catalogue: InForce,
    pub(crate) storage: Arc<Storage>,
    pub(crate) admission: Admission,
    pub(crate) rbac: Arc<Rbac>,
    pub(crate) metrics: Metrics,
    pub(crate) openapi: OpenApi,
    pub(crate) usages: Arc<Usages>,
    /// What tokens name in vain.
    pub(crate) absent: Absent,
    /// To servers in pods.
    pub(crate) pods: PodClient,
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
        let rbac = Arc::new(Rbac::new(&catalogue, storage.clone()));
        Self {
            admission: Admission::standard(&storage, &catalogue, &rbac, &config),
            rbac,
            openapi: OpenApi::new(catalogue.clone()),
            usages: Usages::new(config.kubelet_client.as_ref()).into(),
            absent: Absent::default(),
            pods: PodClient::default(),
            duties: Duties::new(tasks.clone(), shutdown.clone()),
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
        let (tokens, absent) = (&self.config.tokens, &self.absent);
        Authenticator { tokens, objects: self.objects(), absent }
    }
}
