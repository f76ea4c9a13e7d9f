//! What nodes and pods use. The columns are those of metrics-server.

use api_machinery::Quantity;
use api_types::metrics::{NodeMetrics, PodMetrics, ResourceList};
use serde_json::{Value, json};

use crate::{Builder, Plain, ResourceDef, object::KnownScope, object::Object, resource};

/// A node's.
pub(super) fn node_metrics() -> ResourceDef {
    definition::<NodeMetrics>(|node, resource| sum([&node.usage], resource), |node| &node.window)
}

/// A pod's.
pub(super) fn pod_metrics() -> ResourceDef {
    let usage = |pod: &PodMetrics, resource: &str| {
        sum(pod.containers.iter().map(|container| &container.usage), resource)
    };
    definition::<PodMetrics>(usage, |pod| &pod.window)
}

fn definition<K: Object>(usage: fn(&K, &str) -> Value, window: fn(&K) -> &String) -> ResourceDef
where
    K::Scope: KnownScope,
{
    let amount = |builder: Builder<K, Plain>, resource: &'static str| {
        builder
            .column(resource, "string", 0, move |metrics, _| usage(metrics, resource))
            .format("quantity")
    };
    let builder = resource::<K, _>(Plain)
        .computed()
        .only_own_columns()
        .column("Name", "string", 0, |metrics, _| json!(metrics.metadata().name))
        .format("name");
    amount(amount(builder, "cpu"), "memory")
        .column("Window", "string", 0, move |metrics, _| json!(window(metrics)))
        .format("duration")
        .build()
}

fn sum<'a>(usages: impl IntoIterator<Item = &'a ResourceList>, resource: &str) -> Value {
    let amounts =
        usages.into_iter().filter_map(|usage| Quantity::try_from(usage.get(resource)?).ok());
    json!(amounts.reduce(|one, other| one + other).map(|sum| sum.to_string()))
}
