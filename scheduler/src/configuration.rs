//! The strategy can be changed while the scheduler runs, by `data.strategy` of the ConfigMap
//! `kube-system/scheduler`. Without it, the flag's strategy holds.

use api_types::api::core::v1::ConfigMap;
use api_types::minik8s::{
    SCHEDULER_CONFIG_NAME as NAME, SCHEDULER_CONFIG_NAMESPACE as NAMESPACE, STRATEGY_KEY,
};
use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use listwatch::{Lists, News};

use crate::strategy::{Strategy, UnknownStrategy};

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
    let mut lists = Lists::default();
    objects.default_backoff().filter_map(move |event| {
        let wish = event.map(|event| lists.take_in(event).map(wish)).unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "watching the configuration");
            None
        });
        std::future::ready(wish)
    })
}

/// Of the only ConfigMap that is watched.
fn wish(news: News<ConfigMap>) -> Wish {
    match news {
        News::Applied(map) => wish_of(map),
        News::Listed(maps) => maps.into_iter().next().map_or(Wish::Nothing, wish_of),
        News::Deleted(_) => Wish::Nothing,
    }
}

fn wish_of(map: ConfigMap) -> Wish {
    let given = map.data.as_ref().and_then(|data| data.get(STRATEGY_KEY)).map(|name| name.parse());
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

    fn map(data: Value) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": NAME}, "data": data})).unwrap()
    }

    #[test]
    fn the_configuration_names_a_strategy_or_nothing() {
        let random = || map(json!({"strategy": "random"}));
        for news in [News::Applied(random()), News::Listed(vec![random()])] {
            assert!(matches!(wish(news), Wish::Use(_, strategy) if strategy.name() == "random"));
        }
        let empty = News::Applied(map(json!({})));
        for news in [empty, News::Listed(vec![]), News::Deleted(random())] {
            assert!(matches!(wish(news), Wish::Nothing));
        }
        let unknown = News::Applied(map(json!({"strategy": "fastest"})));
        assert!(matches!(wish(unknown), Wish::Wrong(..)));
    }
}
