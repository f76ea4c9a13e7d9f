//! The webhooks that configurations name: other servers that are asked about what is written. Those that may change an
//! object are asked one after another, the others all at once (Kubernetes:
//! `k8s.io/apiserver/pkg/admission/plugin/webhook`).

mod caller;
mod configured;
mod matching;
mod review;
mod service;
mod trust;

use std::{borrow::Cow, sync::Arc};

use api_machinery::{ApiError, patch, strict};
use api_types::api::{authentication::v1::TokenRequest, core::v1::Binding};
use async_trait::async_trait;
use futures::future::join_all;
use registry::{AnyObject, Object, ResourceDef, Subresource, scale};
use serde_json::Value;

use self::{
    configured::{Configured, Hook},
    review::Verdict,
};
use super::{Attributes, Claim, Operation, Plugin};
use crate::{
    catalogue::{Catalogue, InForce},
    objects::Objects,
    storage::Storage,
};

/// Their configurations, of which no webhook is asked, or nobody could get rid of one that refuses everything.
const CONFIGURATIONS: (&str, [&str; 2]) = (
    "admissionregistration.k8s.io",
    ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
);

/// See the module.
#[derive(Debug)]
pub(super) struct Webhooks {
    catalogue: InForce,
    storage: Arc<Storage>,
    configured: Configured,
    /// Look again at what webhooks have changed.
    reinvoked: Vec<Box<dyn Plugin>>,
}

/// How a webhook wants to see a request: in a version of the resource.
#[derive(Debug)]
struct Seen<'a> {
    def: &'a ResourceDef,
    object: Cow<'a, Value>,
    old: Cow<'a, Value>,
}

#[async_trait]
impl Plugin for Webhooks {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let hooks = self.configured.mutating(&self.storage);
        if !hooks.is_empty() && !is_exempt(attributes) {
            Box::pin(self.mutate_by(&hooks, attributes, object)).await?;
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let hooks = self.configured.validating(&self.storage);
        if hooks.is_empty() || is_exempt(attributes) {
            return Ok(());
        }
        Box::pin(self.validate_by(&hooks, attributes, object)).await
    }
}

impl Webhooks {
    /// Those of the configurations in the cache.
    pub(super) fn new(
        catalogue: InForce,
        storage: Arc<Storage>,
        reinvoked: Vec<Box<dyn Plugin>>,
    ) -> Self {
        let configured = Configured::new(&catalogue.load());
        Self { catalogue, storage, configured, reinvoked }
    }

    /// Once all; and if one has changed something, again the plugins before them and those that wish to see what others
    /// have changed since (Kubernetes: `reinvocationPolicy`).
    async fn mutate_by(
        &self,
        hooks: &[Hook],
        attributes: &Attributes<'_>,
        mut object: Option<&mut AnyObject>,
    ) -> Result<(), ApiError> {
        // The state that each one has left.
        let mut left: Vec<Option<Value>> = vec![None; hooks.len()];
        let mut value = value_of(object.as_deref())?;
        let before = value.clone();
        for (hook, left) in hooks.iter().zip(&mut left) {
            if self.change(hook, attributes, object.as_deref_mut(), &mut value).await? {
                *left = Some(value.clone()).filter(|_| hook.reinvokes);
            }
        }
        if value == before {
            return Ok(());
        }
        for plugin in &self.reinvoked {
            plugin.mutate(attributes, object.as_deref_mut()).await?;
        }
        value = value_of(object.as_deref())?;
        for (hook, left) in hooks.iter().zip(left) {
            if left.is_some_and(|left| left != value) {
                self.change(hook, attributes, object.as_deref_mut(), &mut value).await?;
            }
        }
        Ok(())
    }

    /// Lets one change the object; whether it was asked.
    async fn change(
        &self,
        hook: &Hook,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
        value: &mut Value,
    ) -> Result<bool, ApiError> {
        let catalogue = self.catalogue.load();
        let old = value_of(attributes.old)?;
        let Some(seen) = self.seen(&catalogue, hook, attributes, value, &old).await? else {
            return Ok(false);
        };
        let Some(verdict) = self.ask(hook, attributes, &seen).await? else { return Ok(true) };
        let Some(patch) = verdict.patch else { return Ok(true) };
        let Some(object) = object else {
            return Err(ApiError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let patched = patched(&seen, &patch).map_err(ApiError::internal)?;
        let patched = match std::ptr::eq(seen.def, attributes.at.def) {
            true => patched,
            false => catalogue.converted(patched, attributes.at.def)?,
        };
        *object = decoded(attributes, patched).map_err(ApiError::internal)?;
        *value = object.to_value()?;
        Ok(true)
    }

    /// All at once; of several refusals the first is told.
    async fn validate_by(
        &self,
        hooks: &[Hook],
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let catalogue = self.catalogue.load();
        let (object, old) = match attributes.options {
            Some(options) => (options.clone(), Value::Null),
            None => (value_of(object)?, value_of(attributes.old)?),
        };
        let asked = hooks.iter().map(|hook| {
            let (catalogue, object, old) = (&catalogue, &object, &old);
            async move {
                match self.seen(catalogue, hook, attributes, object, old).await? {
                    Some(seen) => self.ask(hook, attributes, &seen).await.map(drop),
                    None => Ok(()),
                }
            }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// What a webhook is to see, if it is to see the request.
    async fn seen<'a>(
        &self,
        catalogue: &'a Catalogue,
        hook: &Hook,
        attributes: &Attributes<'a>,
        object: &'a Value,
        old: &'a Value,
    ) -> Result<Option<Seen<'a>>, ApiError> {
        let rules = (&*hook.rules, hook.is_exact);
        let Some(def) = matching::resource(rules, catalogue, attributes) else { return Ok(None) };
        if !matching::object(&hook.objects, object, old)
            || !self.namespace(hook, attributes, object).await?
        {
            return Ok(None);
        }
        let is_as_given = std::ptr::eq(def, attributes.at.def);
        let converted = |given: &'a Value| match is_as_given || !is_of(given, attributes.at.def) {
            true => Ok(Cow::Borrowed(given)),
            false => catalogue.converted(given.clone(), def).map(Cow::Owned),
        };
        Ok(Some(Seen { def, object: converted(object)?, old: converted(old)? }))
    }

    /// Whether the namespace of the object is one that the webhook is for: a namespace itself counts by its own labels.
    async fn namespace(
        &self,
        hook: &Hook,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<bool, ApiError> {
        if hook.namespaces.is_everything() {
            return Ok(true);
        }
        let at = attributes.at;
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let is_itself = at.def.is_core("namespaces");
        if is_itself && attributes.subresource.is_none() && object.is_object() {
            return Ok(matching::labels(&hook.namespaces, object));
        }
        let Some(name) = at.namespace.or(is_itself.then_some(at.name)) else { return Ok(true) };
        let namespace: Option<Value> = objects.find("namespaces", None, name).await?;
        let namespace = namespace.ok_or_else(|| ApiError::not_found("", "namespaces", name))?;
        Ok(matching::labels(&hook.namespaces, &namespace))
    }

    /// Asks one: nothing comes of it if it can't be asked and is not that important.
    async fn ask(
        &self,
        hook: &Hook,
        attributes: &Attributes<'_>,
        seen: &Seen<'_>,
    ) -> Result<Option<Verdict>, ApiError> {
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let question = review::Question::of(attributes, seen.def, &seen.object, &seen.old);
        let called = hook.caller.call(objects, &question, hook.expected);
        let answer = match attributes.sender {
            None => called.await,
            Some(sender) => tokio::select! {
                answer = called => answer,
                () = sender.feedback.gone().cancelled() => {
                    return Err(ApiError::timeout("the client has gone"));
                }
            },
        };
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(why) if hook.ignores_failure => {
                tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing open");
                return Ok(None);
            }
            Err(why) => {
                let why = format!("failed calling webhook {:?}: {why}", hook.name);
                return Err(ApiError::internal(why));
            }
        };
        if let Some(sender) = attributes.sender {
            verdict.warnings.iter().for_each(|warning| sender.feedback.warn(warning.clone()));
        }
        match verdict.refusal(&hook.name) {
            Some(refusal) => Err(refusal),
            None => Ok(Some(verdict)),
        }
    }
}

/// Whether no webhook is asked. The server's own writes are the other exemption: it makes its namespaces and endpoints
/// before it serves anybody, so that a webhook that is down would keep it from starting, and with it whoever could
/// remove the webhook.
fn is_exempt(attributes: &Attributes<'_>) -> bool {
    let (names, (group, plurals)) = (&attributes.at.def.names, CONFIGURATIONS);
    let is_configuration = names.group == group && plurals.contains(&names.plural.as_str());
    is_configuration || attributes.identity.is_server()
}

fn value_of(object: Option<&AnyObject>) -> Result<Value, ApiError> {
    object.map_or(Ok(Value::Null), AnyObject::to_value)
}

/// Whether this is an object of the resource itself, and not a Scale or the like.
fn is_of(object: &Value, def: &ResourceDef) -> bool {
    object["kind"] == *def.names.kind && object["apiVersion"] == def.api_version()
}

fn patched(seen: &Seen<'_>, text: &[u8]) -> Result<Value, ApiError> {
    let operations: Value = serde_json::from_slice(text).map_err(ApiError::internal)?;
    patch::apply_json(&seen.object, &operations)
}

/// The object that comes of a patch, as if its sender had brought it.
fn decoded(attributes: &Attributes<'_>, value: Value) -> Result<AnyObject, ApiError> {
    let at = attributes.at;
    let mut object = match attributes.subresource {
        Some(Subresource::Scale) => scale::decode(&value)?.object,
        Some(Subresource::Binding) => of_type::<Binding>(&value)?,
        Some(Subresource::Token) => of_type::<TokenRequest>(&value)?,
        _ => at.def.decode(value, None)?.object,
    };
    let is_new = attributes.operation == Operation::Create;
    let name = (!is_new || attributes.subresource.is_some()).then_some(at.name);
    registry::place(object.metadata_mut(), at.namespace, name.filter(|name| !name.is_empty()))?;
    if attributes.subresource.is_none() {
        at.def.default(&mut object);
    }
    Ok(object)
}

fn of_type<K: Object>(value: &Value) -> Result<AnyObject, ApiError> {
    strict::decode::<K>(value).map(AnyObject::new).map_err(ApiError::internal)
}
