//! The webhooks that configurations name: other servers that are asked about what is written. Those that may change an
//! object are asked one after another, the others all at once (Kubernetes:
//! `k8s.io/apiserver/pkg/admission/plugin/webhook`).

mod caller;
mod configured;
mod review;
mod turn;

use std::sync::Arc;

use api_machinery::{ApiError, patch};
use async_trait::async_trait;
use futures::future::join_all;
use registry::AnyObject;
use serde_json::Value;

use self::{
    configured::{Configured, Hook},
    review::Verdict,
    turn::Turn,
};
use super::{
    Attributes, Claim, Plugin, changed,
    matching::{Seen, is_exempt_from_webhooks},
    variables,
};
use crate::{
    authorizer::Authorizer,
    catalogue::{Catalogue, InForce},
    objects::Objects,
    storage::Storage,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Webhooks {
    catalogue: InForce,
    storage: Arc<Storage>,
    authorizer: Arc<Authorizer>,
    configured: Configured,
    /// Look again at what webhooks have changed.
    reinvoked: Vec<Box<dyn Plugin>>,
}

#[async_trait]
impl Plugin for Webhooks {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let hooks = self.configured.mutating(&self.storage);
        if !hooks.is_empty() && !is_exempt_from_webhooks(attributes) {
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
        if hooks.is_empty() || is_exempt_from_webhooks(attributes) {
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
        authorizer: Arc<Authorizer>,
        reinvoked: Vec<Box<dyn Plugin>>,
    ) -> Self {
        let configured = Configured::new(&catalogue.load());
        Self { catalogue, storage, authorizer, configured, reinvoked }
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
        let mut value = match attributes.options {
            Some(options) => options.clone(),
            None => value_of(object.as_deref())?,
        };
        let before = value.clone();
        for (index, (hook, left)) in hooks.iter().zip(&mut left).enumerate() {
            let turn = Turn { hook, round: 0, index };
            if self.change(turn, attributes, object.as_deref_mut(), &mut value).await? {
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
        for (index, (hook, left)) in hooks.iter().zip(left).enumerate() {
            if left.is_some_and(|left| left != value) {
                let turn = Turn { hook, round: 1, index };
                self.change(turn, attributes, object.as_deref_mut(), &mut value).await?;
            }
        }
        Ok(())
    }

    /// Lets one change the object; whether it was asked.
    async fn change(
        &self,
        turn: Turn<'_>,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
        value: &mut Value,
    ) -> Result<bool, ApiError> {
        let catalogue = self.catalogue.load();
        let old = value_of(attributes.old)?;
        let Some(seen) = self.seen(&catalogue, turn.hook, attributes, value, &old).await? else {
            return Ok(false);
        };
        let patch = match self.ask(turn, attributes, &seen).await {
            Ok(Some(Verdict { patch: Some(patch), .. })) => patch,
            unchanged => {
                turn.tell_mutation(attributes, false);
                return unchanged.map(|_| true);
            }
        };
        let Some(object) = object else {
            return Err(ApiError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                turn.hook.name
            )));
        };
        let patched = patched(&seen, &patch).map_err(ApiError::internal)?;
        turn.tell_mutation(attributes, patched != *seen.object);
        turn.tell_patch(attributes, &patch);
        let patched = match std::ptr::eq(seen.def, attributes.at.def) {
            true => patched,
            false => self.storage.converted(patched, attributes.at.def).await?,
        };
        *object = changed::decoded(attributes, patched).map_err(ApiError::internal)?;
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
        let mut concerned = Vec::new();
        for hook in hooks {
            let seen = self.seen(&catalogue, hook, attributes, &object, &old).await?;
            concerned.extend(seen.map(|seen| (hook, seen)));
        }
        let asked = concerned.iter().enumerate().map(|(index, (hook, seen))| async move {
            self.ask(Turn { hook, round: 0, index }, attributes, seen).await.map(drop)
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
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let seen = hook.criteria.seen(objects, catalogue, attributes, (object, old)).await?;
        let Some(seen) = seen else { return Ok(None) };
        if hook.conditions.is_empty() {
            return Ok(Some(seen));
        }
        let input = variables::of(attributes, &seen, &self.authorizer);
        match hook.conditions.hold(&input) {
            Ok(hold) => Ok(hold.then_some(seen)),
            Err(why) if hook.ignores_failure => {
                tracing::warn!(webhook = hook.name, why, "failed evaluating match conditions");
                Ok(None)
            }
            Err(why) => Err(attributes.forbidden(&why)),
        }
    }

    /// Asks one: nothing comes of it if it can't be asked and is not that important.
    async fn ask(
        &self,
        turn: Turn<'_>,
        attributes: &Attributes<'_>,
        seen: &Seen<'_>,
    ) -> Result<Option<Verdict>, ApiError> {
        let hook = turn.hook;
        let question = review::Question::of(attributes, seen);
        let called = hook.caller.call(self.storage.services(), &question, hook.expected);
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
                turn.tell_failed_open(attributes);
                return Ok(None);
            }
            Err(why) => {
                let why = format!("failed calling webhook {:?}: {why}", hook.name);
                return Err(ApiError::internal(why));
            }
        };
        if let Some(sender) = attributes.sender {
            verdict.warnings.iter().for_each(|warning| sender.feedback.warn(warning.clone()));
            for (key, value) in &verdict.annotations {
                sender.feedback.annotate(format!("{}/{key}", hook.name), value.clone());
            }
        }
        match verdict.refusal(&hook.name) {
            Some(refusal) => Err(refusal),
            None => Ok(Some(verdict)),
        }
    }
}

fn value_of(object: Option<&AnyObject>) -> Result<Value, ApiError> {
    object.map_or(Ok(Value::Null), AnyObject::to_value)
}

fn patched(seen: &Seen<'_>, text: &[u8]) -> Result<Value, ApiError> {
    let operations: Value = serde_json::from_slice(text).map_err(ApiError::internal)?;
    patch::apply_json(&seen.object, &operations)
}
