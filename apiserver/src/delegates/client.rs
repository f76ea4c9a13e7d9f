//! The way to a server of one's own group version: HTTPS to whom its APIService says is it, with this server's
//! certificate as a front proxy.

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use api_types::apiregistration::v1::APIServiceSpec;
use parking_lot::Mutex;
use reqwest::{Client, ClientBuilder, redirect::Policy};

use crate::{kubelet_client::causes, pki::FrontProxy, webhook_client::trust};

/// So many places of a Service are remembered: its pods come and go.
const PLACES: usize = 16;
const CONNECT: Duration = Duration::from_secs(10);
/// Sooner than most servers close what is idle.
const IDLE: Duration = Duration::from_secs(30);

/// What is reached by its Service: its name there is that of its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceAddress {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl ServiceAddress {
    /// The name by which its certificate has to be.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// Whom to believe that it is the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    /// Whoever the bundle vouches for; without one, whoever the host's authorities do.
    bundle: Vec<u8>,
    /// Anybody.
    anybody: bool,
}

impl Trust {
    pub(super) fn of(spec: &APIServiceSpec) -> Self {
        let bundle = spec.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).unwrap_or_default();
        Self { bundle, anybody: spec.insecure_skip_tls_verify == Some(true) }
    }
}

/// See the module.
pub(crate) struct ServerClient {
    service: ServiceAddress,
    trust: Trust,
    front_proxy: Option<Arc<FrontProxy>>,
    /// By address, so that no connection is used for another one: a pod's address soon is another's.
    clients: Mutex<HashMap<SocketAddr, Client>>,
}

impl fmt::Debug for ServerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerClient").field("service", &self.service).finish_non_exhaustive()
    }
}

impl ServerClient {
    pub(super) fn new(
        service: ServiceAddress,
        trust: Trust,
        front_proxy: Option<Arc<FrontProxy>>,
    ) -> Self {
        Self { service, trust, front_proxy, clients: Mutex::default() }
    }

    pub(super) fn is_of(&self, service: &ServiceAddress, trust: &Trust) -> bool {
        self.service == *service && self.trust == *trust
    }

    /// The URL of a path at the address of one who answers for the Service, by the Service's name.
    pub(crate) fn url(
        &self,
        address: SocketAddr,
        path: &str,
        query: Option<&str>,
    ) -> Result<reqwest::Url, String> {
        // The port of a URL is the one that is connected to, whatever its host's address says.
        let (host, port) = (self.service.host(), address.port());
        let mut url = reqwest::Url::parse(&format!("https://{host}:{port}"))
            .map_err(|error| error.to_string())?;
        url.set_path(path);
        url.set_query(query);
        Ok(url)
    }

    /// The client for one who answers for the Service at an address.
    pub(crate) fn at(&self, address: SocketAddr) -> Result<Client, String> {
        if let Some(client) = self.clients.lock().get(&address) {
            return Ok(client.clone());
        }
        // That takes a while; others are let through, and may build the same.
        let built = self.build(address)?;
        let mut clients = self.clients.lock();
        if clients.len() >= PLACES {
            clients.clear();
        }
        Ok(clients.entry(address).or_insert(built).clone())
    }

    fn build(&self, address: SocketAddr) -> Result<Client, String> {
        component::install_crypto_provider();
        let builder = Client::builder()
            .no_proxy()
            // Nobody is led elsewhere with this server's certificate.
            .redirect(Policy::none())
            // Of streams that share a connection, one that is read slowly would hold up the others; and what changes to another
            // protocol needs one of its own.
            .http1_only()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .resolve(&self.service.host(), address);
        self.with_trust(builder)?.build().map_err(|error| causes(&error))
    }

    fn with_trust(&self, builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let shown = self.front_proxy.as_ref();
        if !self.trust.bundle.is_empty() {
            let shown = shown.map(|it| it.shown()).transpose().map_err(|error| text(&error))?;
            let mut config =
                trust::client_config(&self.trust.bundle, shown).map_err(|error| text(&error))?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            return Ok(builder.tls_backend_preconfigured(config));
        }
        let builder = match shown {
            Some(it) => builder.identity(it.identity().map_err(|error| causes(&error))?),
            None => builder,
        };
        Ok(builder.tls_danger_accept_invalid_certs(self.trust.anybody))
    }
}
