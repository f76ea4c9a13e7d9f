//! The way to a webhook: HTTPS to whoever shows a certificate of the authority that its configuration names.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use api_types::api::admissionregistration::v1::WebhookClientConfig;
use parking_lot::Mutex;
use reqwest::{Certificate, Client, StatusCode, Url, redirect::Policy};

use super::{
    review::{self, Expected, Question, Verdict},
    service,
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
    place: Place,
    authority: Option<Vec<u8>>,
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
    pub(super) fn new(config: &WebhookClientConfig, seconds: Option<i32>) -> Self {
        let place = match (&config.service, &config.url) {
            (Some(it), _) => Place::Service {
                namespace: it.namespace.clone(),
                name: it.name.clone(),
                port: u16::try_from(it.port.unwrap_or(HTTPS)).unwrap_or_default(),
                path: it.path.clone().unwrap_or_default(),
            },
            (None, url) => Place::Url(url.clone().unwrap_or_default()),
        };
        Self {
            place,
            authority: config.ca_bundle.as_ref().map(|it| it.0.clone()).filter(|it| !it.is_empty()),
            seconds: u64::try_from(seconds.unwrap_or(SECONDS)).unwrap_or_default(),
            clients: Mutex::default(),
        }
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
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&address) {
            return Ok(client.clone());
        }
        if clients.len() >= PLACES {
            clients.clear();
        }
        let client = self.build(address, url).map_err(|error| causes(&error))?;
        clients.insert(address, client.clone());
        Ok(client)
    }

    fn build(&self, address: Option<SocketAddr>, url: &Url) -> reqwest::Result<Client> {
        component::install_crypto_provider();
        let mut builder = Client::builder().no_proxy().redirect(Policy::none());
        if let Some(bundle) = &self.authority {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(bundle)?);
        }
        if let Some((address, host)) = address.zip(url.host_str()) {
            builder = builder.resolve(host, address);
        }
        builder.build()
    }
}

/// A path from the root.
fn rooted(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}
