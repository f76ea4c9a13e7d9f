//! The server put together, and its life from start to stop.

#[cfg(test)]
mod tests;

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::Context;
use futures::StreamExt;
use listwatch::{Announcements, Publisher};
use registry::ResourceDef;
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    api_services, bootstrap,
    catalogue::{Catalogue, CatalogueError, InForce},
    config::Config,
    credentials::Credentials,
    custom_resources,
    duties::DutyError,
    endpoints, flow_schemas,
    identity::Identity,
    metrics::Metrics,
    publish,
    service::InProcess,
    state::State,
    storage::{Measured, Storage},
    upkeep,
};

/// How long a stop waits for requests that are being carried out.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a stop waits for the store to forget the server's endpoint, which others remove in the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running API server. Clones are handles of the same server.
#[derive(Clone, Debug)]
pub struct ApiServer {
    pub(crate) state: Arc<State>,
}

impl ApiServer {
    /// Starts a server over a store: fills the cache, makes sure of the objects that are always there, and goes
    /// on with publishing, expiry and compaction in the background.
    ///
    /// # Errors
    /// If the store can't be read or written.
    pub async fn start(
        config: Config,
        store: Arc<dyn Store>,
        publisher: Option<Publisher>,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new(config.audit.as_deref());
        let store = Arc::new(Measured::new(store, metrics.store.clone()));
        let begun = custom_resources::begin(&*store).await;
        let (catalogue, custom_kinds) =
            begun.context("cannot read the CustomResourceDefinitions from the store")?;
        let catalogue = InForce::new(catalogue);
        let storage = Storage::start(store, catalogue.clone(), &config)
            .await
            .context("cannot fill the cache from the store")?;
        let this = Self { state: Arc::new(State::new(config, catalogue, storage, metrics)) };
        let cache = this.state.storage.cache().clone();
        this.state.duties.begin("the cache", async move { cache.lost().await });
        if let Some(publisher) = publisher {
            let State { catalogue, storage, duties, .. } = &*this.state;
            let publishing = publish::run(catalogue.clone(), storage.clone(), publisher);
            duties.begin("the publisher", publishing);
        }
        if let Some(announcements) = this.state.config.announcements.clone() {
            this.state
                .duties
                .begin("listening to kubelets", listen(this.state.clone(), announcements));
        }
        let custom = custom_resources::follow(this.state.clone(), this.itself(), custom_kinds);
        this.state.duties.begin("the custom resources", custom);
        let mut memory = bootstrap::Memory::default();
        let (api, State { config, storage, .. }) = (this.itself(), &*this.state);
        if let Err(error) = bootstrap::begin(&api, config, storage, &mut memory).await {
            // What has begun would go on in this process, and hold the store.
            this.state.shutdown.cancel();
            return Err(error).context("cannot make the objects that are always there");
        }
        if let Err(error) = api_services::begin(&api, &this.state).await {
            this.state.shutdown.cancel();
            return Err(error).context("cannot make the APIServices");
        }
        // Before anybody is served: whose requests are of which level is in every answer.
        flow_schemas::begin(&this.state, &api).await;
        upkeep::start(&this.state, &api, memory);
        Ok(this)
    }

    /// The kinds that are served, in each of their versions.
    #[must_use]
    pub fn kinds(&self) -> Vec<Arc<ResourceDef>> {
        self.state.catalogue.load().iter().cloned().collect()
    }

    /// Serves other kinds from now on. What has begun ends with the kinds that it began with. Kinds that stay are to
    /// be handed in as [`Self::kinds`] gave them: their objects are encoded already.
    ///
    /// # Errors
    /// If they can't be served together.
    pub fn serve_kinds(&self, kinds: Vec<Arc<ResourceDef>>) -> Result<(), CatalogueError> {
        self.state.catalogue.replace(Catalogue::new(kinds)?);
        Ok(())
    }

    /// The API as a service in this process, for requests of this identity.
    #[must_use]
    pub fn service(&self, identity: Identity) -> InProcess {
        InProcess::new(self.state.clone(), Credentials::of(identity))
    }

    /// The same for the server itself.
    fn itself(&self) -> InProcess {
        self.service(Identity::server())
    }

    /// Begins what is to go on as long as the server does.
    pub fn begin(&self, name: &'static str, duty: impl Future<Output = ()> + Send + 'static) {
        self.state.duties.begin(name, duty);
    }

    /// Runs until the shutdown or until the server can't go on, and stops it.
    ///
    /// # Errors
    /// Why it can't go on.
    pub async fn run(&self, shutdown: &CancellationToken) -> Result<(), DutyError> {
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            error = self.state.duties.failed() => Err(error),
        };
        if ended.is_ok() {
            self.linger().await;
        }
        self.stop().await;
        ended
    }

    /// Serves on for a while, and says that it will stop: whoever sends requests hears of that before they are refused.
    async fn linger(&self) {
        let State { config, duties, leaving, .. } = &*self.state;
        leaving.cancel();
        if config.shutdown_delay.is_zero() {
            return;
        }
        self.leave().await;
        tokio::select! {
            () = tokio::time::sleep(config.shutdown_delay) => {}
            _ = duties.failed() => {}
        }
    }

    /// Takes the server out of the endpoints that others are told of.
    async fn leave(&self) {
        let (api, State { config, storage, .. }) = (self.itself(), &*self.state);
        let farewell = endpoints::leave(&api, storage, config.advertised());
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the server's endpoint stays for a while"),
            Err(_) => tracing::warn!("the server's endpoint stays for a while: no answer"),
        }
    }

    /// Stops: watches end, requests are finished, background work ends. The store is left to its owner.
    pub async fn stop(&self) {
        self.state.leaving.cancel();
        self.state.shutdown.cancel();
        self.leave().await;
        self.state.tasks.close();
        if tokio::time::timeout(PATIENCE, self.state.tasks.wait()).await.is_err() {
            tracing::warn!("some requests were not finished in time");
        }
        if let Some(audit) = &self.state.config.audit {
            audit.close().await;
        }
    }
}

/// Hears what nodes that exist announce of what they use.
async fn listen(state: Arc<State>, announcements: Announcements) {
    let mut heartbeats = pin!(announcements.heartbeats());
    let mut pods = pin!(announcements.pods_usage());
    loop {
        tokio::select! {
            Some(heartbeat) = heartbeats.next() => {
                let usage = heartbeat.usage.filter(|_| has_node(&state, &heartbeat.node));
                usage.inspect(|usage| state.usages.hear_node(&heartbeat.node, usage));
            }
            Some(pods) = pods.next() => if has_node(&state, &pods.node) {
                state.usages.hear_pods(&pods);
            },
            else => return,
        }
    }
}

fn has_node(state: &State, name: &str) -> bool {
    let catalogue = state.catalogue.load();
    let nodes = catalogue.find("", "v1", "nodes");
    nodes.is_some_and(|def| state.storage.cache().get(&def.key(None, name)).is_some())
}
