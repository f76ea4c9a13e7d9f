//! The way to a webhook: HTTPS to whoever shows a certificate of the authority that its configuration names.

pub(crate) mod kubeconfig;
mod service;
pub(crate) mod trust;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use api_types::api::admissionregistration::v1::WebhookClientConfig;
use http::header::ACCEPT;
use parking_lot::Mutex;
use reqwest::{Client, StatusCode, Url, redirect::Policy};
use serde::Serialize;

use crate::kubelet_client::causes;

pub(crate) use self::service::Services;

const HTTPS: i32 = 443;
/// Webhooks may answer with whatever else they are said to be free to.
const ACCEPTED: &str = "application/json, */*";
/// So many places of a Service are remembered: its pods come and go.
const PLACES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct WebhookClient {
    config: WebhookClientConfig,
    place: Place,
    patience: Patience,
    /// By address, so that no connection is used for another one: a pod's address soon is another's.
    clients: Mutex<HashMap<Option<SocketAddr>, Client>>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) seconds: u64,
    /// As long as an answer may be.
    pub(crate) longest: usize,
}

#[derive(Debug)]
enum Place {
    Url(String),
    Service { namespace: String, name: String, port: u16, path: String },
}

impl WebhookClient {
    pub(crate) fn new(config: WebhookClientConfig, patience: Patience) -> Self {
        let place = match (&config.service, &config.url) {
            (Some(it), _) => Place::Service {
                namespace: it.namespace.clone(),
                name: it.name.clone(),
                port: u16::try_from(it.port.unwrap_or(HTTPS)).unwrap_or_default(),
                path: it.path.clone().unwrap_or_default(),
            },
            (None, url) => Place::Url(url.clone().unwrap_or_default()),
        };
        Self { place, config, patience, clients: Mutex::default() }
    }

    /// Whether it is what would be made of this: then its connections serve.
    pub(crate) fn is_of(&self, config: &WebhookClientConfig, patience: Patience) -> bool {
        self.config == *config && self.patience == patience
    }

    /// Sends a review and gives the answer; fails with what was asked of whom, and why there is none.
    pub(crate) async fn ask(
        &self,
        services: Services<'_>,
        review: &(impl Serialize + Sync),
    ) -> Result<Vec<u8>, String> {
        let patience = Duration::from_secs(self.patience.seconds);
        match tokio::time::timeout(patience, self.post(services, review)).await {
            Ok(answer) => answer.map_err(|why| self.failure(&why)),
            Err(_) => Err(self.failure("context deadline exceeded")),
        }
    }

    fn failure(&self, why: &str) -> String {
        let url = match &self.place {
            Place::Url(url) => url.clone(),
            Place::Service { namespace, name, port, path } => {
                format!("https://{name}.{namespace}.svc:{port}{}", clean(path))
            }
        };
        format!("Post \"{url}?timeout={}s\": {why}", self.patience.seconds)
    }

    async fn post(
        &self,
        services: Services<'_>,
        review: &(impl Serialize + Sync),
    ) -> Result<Vec<u8>, String> {
        let (mut url, address) = self.destination(services).await?;
        url.query_pairs_mut().append_pair("timeout", &format!("{}s", self.patience.seconds));
        let request = self.client(address, &url)?.post(url).header(ACCEPT, ACCEPTED).json(review);
        let mut answer = request.send().await.map_err(|error| causes(&error.without_url()))?;
        if answer.status() != StatusCode::OK {
            let code = answer.status().as_u16();
            return Err(format!("the server responded with the status code {code}"));
        }
        let (mut read, longest) = (Vec::new(), self.patience.longest);
        while let Some(part) = answer.chunk().await.map_err(|e| causes(&e.without_url()))? {
            if read.len() + part.len() > longest {
                return Err(format!("the answer is longer than {longest} bytes"));
            }
            read.extend_from_slice(&part);
        }
        Ok(read)
    }

    async fn destination(
        &self,
        services: Services<'_>,
    ) -> Result<(Url, Option<SocketAddr>), String> {
        let (url, address) = match &self.place {
            Place::Url(url) => (url.clone(), None),
            Place::Service { namespace, name, port, path } => {
                let address = services.find(namespace, name, *port).await?;
                let port = address.port();
                let url = format!("https://{name}.{namespace}.svc:{port}{}", clean(path));
                (url, Some(address))
            }
        };
        let mut url = Url::parse(&url).map_err(|error| error.to_string())?;
        let path = clean(url.path());
        url.set_path(&path);
        Ok((url, address))
    }

    fn client(&self, address: Option<SocketAddr>, url: &Url) -> Result<Client, String> {
        if let Some(client) = self.clients.lock().get(&address) {
            return Ok(client.clone());
        }
        // That takes a while; others are let through, and may build the same.
        let built = self.build(address, url)?;
        let mut clients = self.clients.lock();
        if clients.len() >= PLACES {
            clients.clear();
        }
        Ok(clients.entry(address).or_insert(built).clone())
    }

    fn build(&self, address: Option<SocketAddr>, url: &Url) -> Result<Client, String> {
        component::install_crypto_provider();
        let mut builder = Client::builder().no_proxy().redirect(Policy::none());
        if let Some(bundle) = self.config.ca_bundle.as_ref().filter(|it| !it.0.is_empty()) {
            let config =
                trust::client_config(&bundle.0, None).map_err(|error| error.to_string())?;
            builder = builder.tls_backend_preconfigured(config);
        }
        if let Some((address, host)) = address.zip(url.host_str()) {
            builder = builder.resolve(host, address);
        }
        builder.build().map_err(|error| causes(&error))
    }
}

/// The path without segments that are empty, as Kubernetes' client asks for it: servers in Go lead others elsewhere, and
/// controller-runtime's envtest writes `https://HOST//PATH`.
fn clean(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let path = segments.fold(String::new(), |path, segment| format!("{path}/{segment}"));
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_segments_are_left_out_of_a_path() {
        for (given, expected) in
            [("", "/"), ("/", "/"), ("hook", "/hook"), ("//hook", "/hook"), ("/a//b/", "/a/b")]
        {
            assert_eq!(clean(given), expected, "{given}");
        }
    }
}
