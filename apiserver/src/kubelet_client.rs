//! Talking to kubelets: HTTPS with this server's certificate, and the certainty that it is the right node's
//! kubelet that answers.

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use parking_lot::Mutex;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

/// Where the kubelet of a node listens.
#[derive(Clone, Debug)]
pub(crate) struct Kubelet {
    pub(crate) node: String,
    pub(crate) address: SocketAddr,
}

/// The credentials towards kubelets.
#[derive(Clone)]
pub struct KubeletClient {
    ca: reqwest::Certificate,
    identity: reqwest::Identity,
}

impl fmt::Debug for KubeletClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeletClient").finish_non_exhaustive()
    }
}

impl KubeletClient {
    /// Credentials of the cluster's CA, a client certificate and its key, all PEM.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn new(ca: &str, certificate: &str, key: &str) -> reqwest::Result<Self> {
        Ok(Self {
            ca: reqwest::Certificate::from_pem(ca.as_bytes())?,
            identity: reqwest::Identity::from_pem(format!("{certificate}\n{key}").as_bytes())?,
        })
    }

    /// GET.
    pub(crate) async fn get(
        &self,
        kubelet: &Kubelet,
        path: &str,
        query: &[(&str, &str)],
    ) -> reqwest::Result<reqwest::Response> {
        self.client(kubelet).build()?.get(url(kubelet, path, query)).send().await
    }

    /// GET with these headers, which ask for another protocol on the connection.
    pub(crate) async fn upgrade(
        &self,
        kubelet: &Kubelet,
        path: &str,
        query: &[(&str, &str)],
        headers: HeaderMap,
    ) -> reqwest::Result<reqwest::Response> {
        let client = self.client(kubelet).http1_only().build()?;
        client.get(url(kubelet, path, query)).headers(headers).send().await
    }

    /// A request with whatever method, path, query and headers, without a body yet.
    pub(crate) fn request(
        &self,
        kubelet: &Kubelet,
        method: Method,
        path: &str,
        query: Option<&str>,
    ) -> reqwest::Result<reqwest::RequestBuilder> {
        let client = self.client(kubelet).http1_only().build()?;
        let mut url = url(kubelet, path, &[]);
        url.set_query(query);
        Ok(client.request(method, url))
    }

    /// One client for all kubelets, which keeps its connections.
    pub(crate) fn kubelets(&self) -> reqwest::Result<Kubelets> {
        let addresses = Arc::<Addresses>::default();
        let client = self.any_client().dns_resolver(addresses.clone()).build()?;
        Ok(Kubelets { client, addresses })
    }

    /// The certificate must be of the node's name, wherever the node is said to be.
    fn client(&self, kubelet: &Kubelet) -> reqwest::ClientBuilder {
        self.any_client().resolve(&kubelet.node, kubelet.address)
    }

    fn any_client(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .tls_certs_only([self.ca.clone()])
            .identity(self.identity.clone())
            .no_proxy()
            // Nobody is led elsewhere with this server's certificate.
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(10))
    }
}

/// All kubelets.
#[derive(Debug)]
pub(crate) struct Kubelets {
    client: reqwest::Client,
    addresses: Arc<Addresses>,
}

impl Kubelets {
    /// GET.
    pub(crate) async fn get(
        &self,
        kubelet: &Kubelet,
        path: &str,
    ) -> reqwest::Result<reqwest::Response> {
        self.addresses.0.lock().insert(kubelet.node.clone(), kubelet.address);
        self.client.get(url(kubelet, path, &[])).send().await
    }

    /// Forgets where other nodes are.
    pub(crate) fn retain(&self, known: impl Fn(&str) -> bool) {
        self.addresses.0.lock().retain(|node, _| known(node));
    }
}

/// Where the nodes are.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<String, SocketAddr>>);

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let address = self.0.lock().get(name.as_str()).copied();
        let addresses = address.map(|address| -> Addrs { Box::new(std::iter::once(address)) });
        Box::pin(async { addresses.ok_or_else(|| "no such node".into()) })
    }
}

fn url(kubelet: &Kubelet, path: &str, query: &[(&str, &str)]) -> reqwest::Url {
    let mut url = reqwest::Url::parse("https://node").expect("the URL is a constant");
    // A name that is no host name leaves `node`, which no certificate is of.
    let _ = url.set_host(Some(&kubelet.node));
    let _ = url.set_port(Some(kubelet.address.port()));
    url.set_path(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// All that an error says.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut causes = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes += &format!(": {cause}");
        source = cause.source();
    }
    causes
}
