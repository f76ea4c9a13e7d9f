//! GET of what is computed: the use of an object of the core group, under its name. Nothing of it is stored, so that
//! it has no versions, and a list has no pages.

use std::{collections::BTreeSet, sync::Arc};

use api_machinery::{ApiError, Quantity, duration};
use api_types::{
    jiff::Timestamp,
    meta::{ObjectMeta, Time},
    metrics::{ContainerMetrics, NodeMetrics, PodMetrics, ResourceList},
};
use http::StatusCode;
use registry::{ResourceDef, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use store::cache::Object;

use crate::{
    call::Call,
    encoded::{CachedObject, Encoded, readable},
    query::{ReadAt, Selection},
    respond::{self, Response},
    state::State,
    storage::Address,
    subresources::kubelet,
    usage::{Figures, Usages},
};

/// Reads the use of an object.
pub(super) async fn get(state: &State, call: &Call) -> Result<Response, ApiError> {
    let at = call.address()?;
    let measured = Measured::of(state, call)?;
    let object_at = Address { def: &measured.core, ..at };
    state.storage.reach(ReadAt::MostRecent).await?;
    let object = state.storage.cache().get(&object_at.key());
    let object = object.ok_or_else(|| object_at.not_found())?;
    measured.ask(std::slice::from_ref(&object)).await?;
    let used = measured.usage_of()(&state.usages, readable(&object)?);
    let used = used.ok_or_else(|| unknown(at))?;
    Ok(call.presentation.response(StatusCode::OK, at.def, &used))
}

/// In metrics-server's words.
fn unknown(at: Address<'_>) -> ApiError {
    let names = &at.def.names;
    let name = at.namespace.map(|namespace| format!("{namespace}/{}", at.name));
    ApiError::not_found(
        &names.group,
        &names.kind.to_lowercase(),
        &name.unwrap_or_else(|| at.name.to_owned()),
    )
}

/// Lists the use of those objects of which it is known.
pub(super) async fn list(state: &State, call: &Call) -> Result<Response, ApiError> {
    let def = &call.info.def;
    let measured = Measured::of(state, call)?;
    let selection = Selection::of(&call.query, def)?;
    let objects = measured.select(&selection, call.info.namespace.as_deref()).await?;
    measured.ask(&objects).await?;
    let (head, tail) = call.presentation.frame(def, &json!({}))?;
    let (usages, usage) = (state.usages.clone(), measured.usage_of());
    let (def, presentation, now) = (def.clone(), call.presentation, Timestamp::now());
    let items = objects.into_iter().filter_map(move |object| {
        let used = readable(&object).map(|object| usage(&usages, object)).transpose()?;
        let shown = used.and_then(|used| presentation.element(&def, &used, now));
        Some(shown.map(|shown| shown.to_string()))
    });
    respond::elements(head, items, tail)
}

/// What is measured, and by whom.
struct Measured<'a> {
    state: &'a State,
    core: Arc<ResourceDef>,
}

impl<'a> Measured<'a> {
    /// The kind of the core group that goes by the same name as what is asked for.
    fn of(state: &'a State, call: &Call) -> Result<Self, ApiError> {
        let core = state.catalogue.load().find("", "v1", &call.info.def.names.plural).cloned();
        Ok(Self { state, core: core.ok_or_else(ApiError::no_such_path)? })
    }

    async fn select(
        &self,
        selection: &Selection,
        namespace: Option<&str>,
    ) -> Result<Vec<CachedObject>, ApiError> {
        let storage = &self.state.storage;
        let all = storage.list(&self.core.prefix(namespace), ReadAt::MostRecent).await?;
        let view = storage.view(&self.core);
        let mut selected = Vec::new();
        for item in all.items.iter() {
            if view.selects(selection, readable(item)?)? {
                selected.push(item.clone());
            }
        }
        Ok(selected)
    }

    /// How it is told what one object uses.
    fn usage_of(&self) -> fn(&Usages, &Encoded) -> Option<Value> {
        if self.is_node() { node_usage } else { pod_usage }
    }

    fn is_node(&self) -> bool {
        self.core.scope == Scope::Cluster
    }

    /// Asks the kubelets of those nodes that have not told.
    async fn ask(&self, objects: &[CachedObject]) -> Result<(), ApiError> {
        let node = if self.is_node() { named } else { node_of };
        let nodes = objects.iter().map(|object| readable(object).map(node));
        let nodes = nodes.filter_map(Result::transpose).collect::<Result<BTreeSet<_>, _>>()?;
        let State { catalogue, storage, usages, .. } = self.state;
        let catalogue = catalogue.load();
        let def = catalogue.find("", "v1", "nodes").ok_or_else(ApiError::no_such_path)?;
        let mut kubelets = Vec::new();
        for name in nodes.iter().filter(|name| usages.is_silent(name)) {
            let Some(node) = storage.cache().get(&def.key(None, name)) else { continue };
            let status = &readable(&node)?.value()["status"];
            kubelets.extend(kubelet::at(name, status).filter(|_| !is_lost(status)));
        }
        usages.ask(&kubelets).await;
        Ok(())
    }
}

/// Whether it is known already that a node's kubelet does not answer.
fn is_lost(status: &Value) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "Unknown")
}

fn named(object: &Encoded) -> Option<&str> {
    object.field("metadata.name")
}

/// That of a pod that runs; others use nothing.
fn node_of(pod: &Encoded) -> Option<&str> {
    let node = pod.field("spec.nodeName").filter(|node| !node.is_empty());
    node.filter(|_| pod.field("status.phase") == Some("Running"))
}

fn node_usage(usages: &Usages, node: &Encoded) -> Option<Value> {
    let sample = usages.node(named(node)?)?;
    let (timestamp, window) = (Time(sample.timestamp), duration::format(sample.window));
    json!(NodeMetrics::new(metadata(node), timestamp, window, amounts(sample.figures))).into()
}

fn pod_usage(usages: &Usages, pod: &Encoded) -> Option<Value> {
    let sample = usages.pod(node_of(pod)?, &uid(pod)?)?;
    let container = |(name, figures)| ContainerMetrics { name, usage: amounts(figures) };
    let containers = sample.figures.into_iter().map(container).collect();
    let (timestamp, window) = (Time(sample.timestamp), duration::format(sample.window));
    json!(PodMetrics::new(metadata(pod), timestamp, window, containers)).into()
}

fn metadata(object: &Encoded) -> ObjectMeta {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let field = |name| object.field(name).map(str::to_owned);
    ObjectMeta {
        name: field("metadata.name"),
        namespace: field("metadata.namespace"),
        labels: object.labels().map(|labels| labels.map(owned).collect()),
        creation_timestamp: Some(Time(Timestamp::now())),
        ..ObjectMeta::default()
    }
}

fn amounts(Figures { cpu_nano_cores, memory_bytes }: Figures) -> ResourceList {
    let memory = Quantity::from_bytes(i64::try_from(memory_bytes).unwrap_or(i64::MAX));
    let amounts = [("cpu", Quantity::from_nano(cpu_nano_cores)), ("memory", memory)];
    let amount = |(resource, amount): (&str, Quantity)| {
        (resource.to_owned(), api_types::Quantity(amount.to_string()))
    };
    amounts.map(amount).into()
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

/// No more is decoded than what has it, which but the kind comes before.
fn uid(pod: &Encoded) -> Option<String> {
    const BEFORE: &[u8] = br#""metadata":"#;
    let json = pod.json();
    let start = json.windows(BEFORE.len()).position(|text| text == BEFORE)? + BEFORE.len();
    let mut values = serde_json::Deserializer::from_slice(&json[start..]).into_iter();
    values.next()?.ok().map(|Metadata { uid }| uid)
}
