//! The webhooks there are, as the cache has their configurations. They are looked at anew only after one has changed: who
//! has none pays for a look at two revisions.

use std::sync::Arc;

use api_types::{
    api::admissionregistration::v1::{ValidatingWebhook, WebhookClientConfig},
    meta::ObjectMeta,
};
use parking_lot::Mutex;
use serde::Deserialize;
use store::Revision;

use super::{caller::Caller, review::Expected};
use crate::{
    admission::{conditions::Conditions, matching::Criteria},
    catalogue::Catalogue,
    encoded,
    storage::Storage,
};

const GROUP: &str = "admissionregistration.k8s.io";
const IF_NEEDED: &str = "IfNeeded";

/// A webhook.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    /// The name of the configuration that it is of.
    pub(super) configuration: String,
    pub(super) criteria: Criteria,
    pub(super) conditions: Conditions,
    pub(super) ignores_failure: bool,
    /// Whether it wants to see what others have changed after it.
    pub(super) reinvokes: bool,
    pub(super) expected: Expected,
    pub(super) caller: Arc<Caller>,
}

/// A configuration of either kind.
#[derive(Debug, Deserialize)]
struct Configuration {
    metadata: ObjectMeta,
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    reinvocation_policy: Option<String>,
    #[serde(flatten)]
    common: ValidatingWebhook,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Configured {
    mutating: Known,
    validating: Known,
}

/// Those of a kind.
#[derive(Debug)]
struct Known {
    prefix: String,
    may_patch: bool,
    current: Mutex<(Option<Revision>, Arc<[Hook]>)>,
}

impl Configured {
    pub(super) fn new(catalogue: &Catalogue) -> Self {
        let known = |plural, may_patch| {
            let prefix = catalogue.find(GROUP, "v1", plural).map(|def| def.prefix(None));
            let current = Mutex::new((None, Arc::from([])));
            Known { prefix: prefix.unwrap_or_default(), may_patch, current }
        };
        Self {
            mutating: known("mutatingwebhookconfigurations", true),
            validating: known("validatingwebhookconfigurations", false),
        }
    }

    /// Those that may change objects, in the order in which they are asked.
    pub(super) fn mutating(&self, storage: &Storage) -> Arc<[Hook]> {
        self.mutating.hooks(storage)
    }

    /// Those that may refuse objects.
    pub(super) fn validating(&self, storage: &Storage) -> Arc<[Hook]> {
        self.validating.hooks(storage)
    }
}

impl Known {
    fn hooks(&self, storage: &Storage) -> Arc<[Hook]> {
        let mut current = self.current.lock();
        // Before the list: what changes meanwhile is looked at again next time.
        let latest = storage.cache().latest(&self.prefix);
        if current.0 != Some(latest) {
            *current = (Some(latest), self.read(storage, &current.1));
        }
        current.1.clone()
    }

    /// In the order of their configurations' names. Those that are called as before keep their connections.
    fn read(&self, storage: &Storage, before: &[Hook]) -> Arc<[Hook]> {
        let snapshot = storage.cache().list(&self.prefix);
        let read = snapshot.items.iter().filter_map(|item| {
            let json = encoded::readable(item).ok()?.json();
            let read = serde_json::from_slice::<Configuration>(&json);
            read.inspect_err(|error| tracing::error!(key = %item.key, %error, "unreadable")).ok()
        });
        let mut configurations: Vec<Configuration> = read.collect();
        configurations.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let hooks = configurations.into_iter().flat_map(|Configuration { metadata, webhooks }| {
            let name = metadata.name.unwrap_or_default();
            webhooks.into_iter().map(move |it| Hook::of(it, &name, self.may_patch, before))
        });
        hooks.collect()
    }
}

impl Hook {
    fn of(
        Webhook { reinvocation_policy, common }: Webhook,
        configuration: &str,
        may_patch: bool,
        before: &[Self],
    ) -> Self {
        let version = common.admission_review_versions.iter().find_map(|it| match it.as_str() {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        Self {
            caller: caller(common.client_config, common.timeout_seconds, before),
            criteria: Criteria::of_webhook(
                common.rules.unwrap_or_default(),
                common.namespace_selector.as_ref(),
                common.object_selector.as_ref(),
                common.match_policy.as_deref(),
            ),
            conditions: Conditions::of(common.match_conditions.as_deref(), false),
            ignores_failure: common.failure_policy.as_deref() == Some("Ignore"),
            reinvokes: reinvocation_policy.as_deref() == Some(IF_NEEDED),
            expected: Expected { version: version.unwrap_or("v1"), may_patch },
            name: common.name,
            configuration: configuration.to_owned(),
        }
    }
}

/// The one there is already, if there is.
fn caller(config: WebhookClientConfig, seconds: Option<i32>, before: &[Hook]) -> Arc<Caller> {
    let known = before.iter().find(|hook| hook.caller.is_of(&config, seconds));
    known.map_or_else(|| Arc::new(Caller::new(config, seconds)), |hook| hook.caller.clone())
}
