//! The strategy can be changed while the scheduler runs, by `data.strategy` of the ConfigMap
//! `kube-system/scheduler`. Without it, the flag's strategy holds.

use api_types::api::core::v1::ConfigMap;
use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use crate::strategy::{Strategy, UnknownStrategy};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "scheduler";

/// What the ConfigMap asks for.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Nothing: the flag's strategy.
    Nothing,
    /// This strategy.
    Use(Box<ConfigMap>, Strategy),
    /// Something that does not exist.
    Wrong(Box<ConfigMap>, UnknownStrategy),
}

/// The wishes, beginning with the present one. Never ends; a broken watch is taken up again.
pub(crate) fn watch(client: Client) -> impl Stream<Item = Wish> + Send {
    let api = Api::<ConfigMap>::namespaced(client, NAMESPACE);
    let objects = watcher(api, watcher::Config::default().fields(&format!("metadata.name={NAME}")));
    objects.default_backoff().filter_map(async |event| match event {
        Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => Some(wish(map)),
        Ok(watcher::Event::Delete(_)) => Some(Wish::Nothing),
        Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "watching the configuration");
            None
        }
    })
}

fn wish(map: ConfigMap) -> Wish {
    let given = map.data.as_ref().and_then(|data| data.get("strategy")).map(|name| name.parse());
    match given {
        None => Wish::Nothing,
        Some(Ok(strategy)) => Wish::Use(Box::new(map), strategy),
        Some(Err(error)) => Wish::Wrong(Box::new(map), error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wish_of(data: Value) -> Wish {
        wish(serde_json::from_value(json!({"metadata": {"name": NAME}, "data": data})).unwrap())
    }

    #[test]
    fn the_configuration_names_a_strategy_or_nothing() {
        assert!(matches!(wish_of(json!({})), Wish::Nothing));
        assert!(
            matches!(wish_of(json!({"strategy": "random"})), Wish::Use(_, s) if s.name() == "random")
        );
        assert!(matches!(wish_of(json!({"strategy": "fastest"})), Wish::Wrong(..)));
    }
}
