//! The way to a webhook: HTTPS to whoever shows a certificate of the authority that its configuration names.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use api_types::api::admissionregistration::v1::WebhookClientConfig;
use parking_lot::Mutex;
use reqwest::{Client, StatusCode, Url, redirect::Policy};

use super::{
    review::{self, Expected, Question, Verdict},
    service, trust,
};
use crate::{kubelet_client::causes, objects::Objects};

/// Of who doesn't say.
const SECONDS: i32 = 10;
const HTTPS: i32 = 443;
/// As long as an answer may be: it may have a patch that makes the largest object there is.
const LONGEST: usize = 4 << 20;
/// So many places of a Service are remembered: its pods come and go.
const PLACES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Caller {
    config: WebhookClientConfig,
    place: Place,
    seconds: u64,
    /// By address, so that no connection is used for another one: a pod's address soon is another's.
    clients: Mutex<HashMap<Option<SocketAddr>, Client>>,
}

#[derive(Debug)]
enum Place {
    Url(String),
    Service { namespace: String, name: String, port: u16, path: String },
}

impl Caller {
    pub(super) fn new(config: WebhookClientConfig, seconds: Option<i32>) -> Self {
        let place = match (&config.service, &config.url) {
            (Some(it), _) => Place::Service {
                namespace: it.namespace.clone(),
                name: it.name.clone(),
                port: u16::try_from(it.port.unwrap_or(HTTPS)).unwrap_or_default(),
                path: it.path.clone().unwrap_or_default(),
            },
            (None, url) => Place::Url(url.clone().unwrap_or_default()),
        };
        Self { place, config, seconds: in_seconds(seconds), clients: Mutex::default() }
    }

    /// Whether it is what would be made of this: then its connections serve.
    pub(super) fn is_of(&self, config: &WebhookClientConfig, seconds: Option<i32>) -> bool {
        self.config == *config && self.seconds == in_seconds(seconds)
    }

    /// Asks; fails with why there is no verdict.
    pub(super) async fn call(
        &self,
        objects: Objects<'_>,
        question: &Question,
        expected: Expected,
    ) -> Result<Verdict, String> {
        let patience = Duration::from_secs(self.seconds);
        let asked = tokio::time::timeout(patience, self.post(objects, question, expected.version));
        let answer = match asked.await {
            Ok(answer) => answer.map_err(|why| self.failure(&why))?,
            Err(_) => return Err(self.failure("context deadline exceeded")),
        };
        review::verdict(&answer, &question.uid, expected)
            .map_err(|why| format!("received invalid webhook response: {why}"))
    }

    fn failure(&self, why: &str) -> String {
        let url = match &self.place {
            Place::Url(url) => url.clone(),
            Place::Service { namespace, name, port, path } => {
                format!("https://{name}.{namespace}.svc:{port}{}", rooted(path))
            }
        };
        format!("failed to call webhook: Post \"{url}?timeout={}s\": {why}", self.seconds)
    }

    async fn post(
        &self,
        objects: Objects<'_>,
        question: &Question,
        version: &str,
    ) -> Result<Vec<u8>, String> {
        let (mut url, address) = self.destination(objects).await?;
        url.query_pairs_mut().append_pair("timeout", &format!("{}s", self.seconds));
        let request = self.client(address, &url)?.post(url).json(&question.review(version));
        let mut answer = request.send().await.map_err(|error| causes(&error.without_url()))?;
        if answer.status() != StatusCode::OK {
            let code = answer.status().as_u16();
            return Err(format!("the server responded with the status code {code}"));
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| causes(&e.without_url()))? {
            if read.len() + part.len() > LONGEST {
                return Err(format!("the answer is longer than {LONGEST} bytes"));
            }
            read.extend_from_slice(&part);
        }
        Ok(read)
    }

    async fn destination(&self, objects: Objects<'_>) -> Result<(Url, Option<SocketAddr>), String> {
        let (url, address) = match &self.place {
            Place::Url(url) => (url.clone(), None),
            Place::Service { namespace, name, port, path } => {
                let address = service::find(objects, namespace, name, *port).await?;
                let port = address.port();
                let url = format!("https://{name}.{namespace}.svc:{port}{}", rooted(path));
                (url, Some(address))
            }
        };
        Ok((Url::parse(&url).map_err(|error| error.to_string())?, address))
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
            let config = trust::client_config(&bundle.0).map_err(|error| error.to_string())?;
            builder = builder.tls_backend_preconfigured(config);
        }
        if let Some((address, host)) = address.zip(url.host_str()) {
            builder = builder.resolve(host, address);
        }
        builder.build().map_err(|error| causes(&error))
    }
}

fn in_seconds(given: Option<i32>) -> u64 {
    u64::try_from(given.unwrap_or(SECONDS)).unwrap_or_default()
}

/// A path from the root.
fn rooted(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}
