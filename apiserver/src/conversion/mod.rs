//! Objects in another version of their kind than they are stored in. Who converts them may be another server, of which
//! much is asked at once (Kubernetes: `apiextensions-apiserver/pkg/apiserver/conversion`).

mod review;
mod view;

use std::{collections::HashMap, sync::Arc};

use api_machinery::ApiError;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use registry::{ConversionWebhook, ResourceDef};
use serde_json::Value;
use store::{Store, cache::Cache};

use self::review::Question;
use crate::{
    catalogue::Catalogue,
    encoded::Decoded,
    webhook_client::{Patience, Services, WebhookClient},
};

pub(crate) use self::view::View;

/// As long as Kubernetes waits; an answer may have many objects.
const PATIENCE: Patience = Patience { seconds: 30, longest: 64 << 20 };

/// See the module.
#[derive(Debug)]
pub(crate) struct Converter {
    store: Arc<dyn Store>,
    cache: Arc<Cache<Decoded>>,
    /// By the qualified names of the kinds.
    clients: Mutex<HashMap<String, Arc<WebhookClient>>>,
}

impl Converter {
    pub(crate) fn new(store: Arc<dyn Store>, cache: Arc<Cache<Decoded>>) -> Self {
        Self { store, cache, clients: Mutex::default() }
    }

    /// An object that is in any version of its kind in that of a definition.
    pub(crate) async fn converted(
        &self,
        catalogue: &Catalogue,
        object: Value,
        def: &ResourceDef,
    ) -> Result<Value, ApiError> {
        if !catalogue.is_to_be_sent(&object, def) {
            return catalogue.converted(object, def);
        }
        let converted = self.all_converted(catalogue, vec![object], def).await?;
        converted.into_iter().next().ok_or_else(|| ApiError::internal("nothing was converted"))
    }

    /// Several, in their order: those that take another server are sent to it together.
    pub(crate) fn all_converted<'a>(
        &'a self,
        catalogue: &'a Catalogue,
        objects: Vec<Value>,
        def: &'a ResourceDef,
    ) -> BoxFuture<'a, Result<Vec<Value>, ApiError>> {
        // Most requests convert nothing: these are not to carry it with them.
        Box::pin(self.convert_all(catalogue, objects, def))
    }

    async fn convert_all(
        &self,
        catalogue: &Catalogue,
        mut objects: Vec<Value>,
        def: &ResourceDef,
    ) -> Result<Vec<Value>, ApiError> {
        // As it is by now: the definition may be of a time when another server converted.
        let to = catalogue.version(def, &def.api_version())?;
        let (mut sent, mut places) = (Vec::new(), Vec::new());
        for (place, object) in objects.iter_mut().enumerate() {
            if !catalogue.is_to_be_sent(object, to) {
                *object = catalogue.converted(object.take(), to)?;
                continue;
            }
            let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
            catalogue.version(to, &version)?.complete(object);
            sent.push(object.take());
            places.push(place);
        }
        let Some(webhook) = to.webhook.as_ref().filter(|_| !sent.is_empty()) else {
            return Ok(objects);
        };
        let received = self.ask(webhook, to, &sent).await;
        let received = received.map_err(|why| ApiError::new(500, "", why))?;
        for (place, mut converted) in places.into_iter().zip(received) {
            to.adapt(&mut converted);
            objects[place] = converted;
        }
        Ok(objects)
    }

    async fn ask(
        &self,
        webhook: &ConversionWebhook,
        to: &ResourceDef,
        objects: &[Value],
    ) -> Result<Vec<Value>, String> {
        let question = Question::new(to.api_version(), objects, &webhook.review_version);
        let services = Services { store: &*self.store, cache: &self.cache };
        let asked = self.client(webhook, to).ask(services, &question.review()).await;
        let answer = asked.map_err(|why| question.failed(&why))?;
        question.converted(&answer)
    }

    /// The one there is already, if it is still of this configuration.
    fn client(&self, webhook: &ConversionWebhook, to: &ResourceDef) -> Arc<WebhookClient> {
        let mut clients = self.clients.lock();
        let known = clients.get(&to.qualified());
        if let Some(client) = known.filter(|it| it.is_of(&webhook.client_config, PATIENCE)) {
            return client.clone();
        }
        let client = Arc::new(WebhookClient::new(webhook.client_config.clone(), PATIENCE));
        clients.insert(to.qualified(), client.clone());
        client
    }
}
