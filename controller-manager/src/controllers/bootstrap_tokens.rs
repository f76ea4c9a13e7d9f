//! Removes the tokens with which nodes join when they end (Kubernetes: `pkg/controller/bootstrap/tokencleaner.go`).

use std::sync::Arc;
use std::time::Duration;

use api_types::ByteString;
use api_types::api::core::v1::Secret;
use api_types::jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};

const NAMESPACE: &str = "kube-system";
const SELECTOR: &str = "type=bootstrap.kubernetes.io/token";

pub(super) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Registered {
    let (queue, tokens) = (Arc::new(WorkQueue::default()), Arc::new(Informer::default()));
    let changed = queue.clone();
    tokens.on_change(move |change: &Change<Secret>| {
        change.new.iter().for_each(|token| changed.add(ObjectKey::of(&token.metadata)));
    });
    let api = Api::<Secret>::namespaced(context.client(), NAMESPACE);
    let (followed, client) = (tokens.clone(), context.client());
    tasks.spawn(async move {
        let all = watcher(api, watcher::Config::default().fields(SELECTOR));
        followed.follow(all.default_backoff()).await;
    });
    let controller = TokenCleaner { client, clock: context.clock, tokens: tokens.clone() };
    Registered::new(controller, queue).reads(&*tokens)
}

struct TokenCleaner {
    client: Client,
    clock: Clock,
    tokens: Arc<Informer<Secret>>,
}

#[async_trait::async_trait]
impl Controller for TokenCleaner {
    fn name(&self) -> &'static str {
        "token-cleaner-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(token) = self.tokens.get(key) else { return Ok(Next::Change) };
        let Some(end) = end(&token, self.clock.now()) else { return Ok(Next::Change) };
        let left = end.duration_since(self.clock.now());
        if left.is_positive() {
            return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::MAX)));
        }
        tracing::info!(secret = %key, "removing a token that has ended");
        let uid = token.metadata.uid.clone();
        let resource_version = token.metadata.resource_version.clone();
        let preconditions = Some(Preconditions { uid, resource_version });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let api = Api::<Secret>::namespaced(self.client.clone(), NAMESPACE);
        api.delete(&key.name, &params).await.unless_gone("removing a token that has ended")?;
        Ok(Next::Change)
    }
}

/// When a token ends; now if nobody can say, since it lets nobody in.
fn end(token: &Secret, now: Timestamp) -> Option<Timestamp> {
    let text = token.data.as_ref()?.get("expiration").filter(|text| !text.0.is_empty())?;
    let ByteString(text) = text;
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    Some(parsed.unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_when_it_says_so_or_never() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let check = |expiration: Option<&str>, expected: Option<&str>| {
            let data = expiration.map(|text| ("expiration".to_owned(), ByteString(text.into())));
            let token = Secret { data: Some(data.into_iter().collect()), ..Secret::default() };
            assert_eq!(end(&token, now), expected.map(|text| text.parse().unwrap()));
        };
        check(None, None);
        check(Some(""), None);
        check(Some("2026-01-02T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
        check(Some("tomorrow"), Some("2026-01-01T00:00:00Z"));
    }
}
