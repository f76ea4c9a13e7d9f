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
    let mut listed = Listed::default();
    objects.default_backoff().filter_map(move |event| {
        let wish = event.map(|event| listed.wish(event)).unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "watching the configuration");
            None
        });
        std::future::ready(wish)
    })
}

/// Whether the list that is under way has shown the ConfigMap: a list without it tells that it was deleted.
#[derive(Debug, Default)]
struct Listed(bool);

impl Listed {
    fn wish(&mut self, event: watcher::Event<ConfigMap>) -> Option<Wish> {
        match event {
            watcher::Event::Init => *self = Self(false),
            watcher::Event::InitApply(map) => {
                *self = Self(true);
                return Some(wish(map));
            }
            watcher::Event::Apply(map) => return Some(wish(map)),
            watcher::Event::InitDone if self.0 => {}
            watcher::Event::InitDone | watcher::Event::Delete(_) => return Some(Wish::Nothing),
        }
        None
    }
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
    fn a_list_without_the_configuration_asks_for_nothing() {
        use watcher::Event::{Init, InitApply, InitDone};
        let mut listed = Listed::default();
        assert!(listed.wish(Init).is_none());
        assert!(matches!(listed.wish(InitApply(ConfigMap::default())), Some(Wish::Nothing)));
        assert!(listed.wish(InitDone).is_none());
        assert!(listed.wish(Init).is_none());
        assert!(matches!(listed.wish(InitDone), Some(Wish::Nothing)));
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
