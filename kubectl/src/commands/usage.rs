//! `kubectl get --usage`: columns that say what nodes and pods use, and what has pods.

use std::collections::BTreeMap;

use api_machinery::selector::LabelSelector;
use serde_json::{Value, json};

use super::{
    target::Target,
    top::{amounts::Amounts, source::metrics},
};
use crate::{Failure, api::Call, object, session::Session};

const UNKNOWN: &str = "<unknown>";

/// Adds the columns to a table whose rows have the whole objects.
pub(super) async fn add_columns(
    session: &Session,
    target: &Target,
    table: &mut Value,
) -> Result<(), Failure> {
    let figures = Figures::of(session, target).await?;
    let mut names = vec!["CPU", "Memory"];
    names.extend(figures.pods_of_nodes.as_ref().map(|_| "Pods"));
    names.push("Last Sync");
    for row in rows(table) {
        let cells = figures.cells(session, &row["object"]).await?;
        append(&mut row["cells"], cells.into_iter().map(Value::String));
    }
    let columns =
        names.into_iter().map(|name| json!({"name": name, "type": "string", "priority": 0}));
    append(&mut table["columnDefinitions"], columns);
    Ok(())
}

fn rows(table: &mut Value) -> impl Iterator<Item = &mut Value> {
    table["rows"].as_array_mut().into_iter().flatten()
}

fn append(list: &mut Value, more: impl Iterator<Item = Value>) {
    if let Value::Array(list) = list {
        list.extend(more);
    }
}

/// What is known of all objects that may be asked for.
struct Figures {
    metrics: Vec<Value>,
    /// How many pods there are on each node; of nodes only.
    pods_of_nodes: Option<BTreeMap<String, usize>>,
}

impl Figures {
    async fn of(session: &Session, target: &Target) -> Result<Self, Failure> {
        let is_nodes = target.resource.group.is_empty() && target.resource.plural == "nodes";
        let collection = match (&target.namespace, is_nodes) {
            (_, true) => "nodes".to_owned(),
            (Some(namespace), _) => format!("namespaces/{namespace}/pods"),
            (None, _) => "pods".to_owned(),
        };
        let call = Call::get(format!("/apis/metrics.k8s.io/v1beta1/{collection}"));
        let pods_of_nodes = if is_nodes { Some(pods_of_nodes(session).await?) } else { None };
        Ok(Self { metrics: metrics(session, call).await?, pods_of_nodes })
    }

    async fn cells(&self, session: &Session, object: &Value) -> Result<Vec<String>, Failure> {
        let metrics = self.metrics_of(session, object).await?;
        let amounts = metrics.iter().map(|metrics| Amounts::of_metrics(metrics));
        let amounts = amounts.reduce(|one, other| one + other).map(Amounts::texts);
        // A sum is as old as the oldest of its parts.
        let synced = metrics.iter().map(|metrics| object::text(metrics, "/timestamp")).min();
        let mut cells = amounts.unwrap_or([UNKNOWN, UNKNOWN].map(str::to_owned)).to_vec();
        if let Some(pods) = &self.pods_of_nodes {
            cells.push(pods.get(object::name(object)).unwrap_or(&0).to_string());
        }
        cells.push(synced.unwrap_or(UNKNOWN).to_owned());
        Ok(cells)
    }

    async fn metrics_of(&self, session: &Session, object: &Value) -> Result<Vec<&Value>, Failure> {
        if matches!(object::kind(object), "Node" | "Pod") {
            let is_its = |metrics: &&Value| identity(metrics) == identity(object);
            return Ok(self.metrics.iter().filter(is_its).collect());
        }
        let Some(selector) = selector(session, object).await? else { return Ok(Vec::new()) };
        let namespace = object::namespace(object);
        let is_selected = |metrics: &&Value| {
            let labels = object::map(metrics, "/metadata/labels");
            object::namespace(metrics) == namespace && selector.matches(&labels)
        };
        Ok(self.metrics.iter().filter(is_selected).collect())
    }
}

fn identity(object: &Value) -> (Option<&str>, &str) {
    (object::namespace(object), object::name(object))
}

/// How the pods are selected that an object has, itself or through what it scales.
async fn selector(session: &Session, object: &Value) -> Result<Option<LabelSelector>, Failure> {
    let target = &object["spec"]["scaleTargetRef"];
    if target.is_null() {
        return Ok(object::selector(object));
    }
    let (group, version) = object::group_version(target);
    let resource = session.resource_of_kind(group, version, object::kind(target)).await?;
    let Some(resource) = resource else { return Ok(None) };
    let path = resource.object_path(object::namespace(object), object::text(target, "/name"));
    match session.api().await?.call(Call::get(path)).await {
        Ok(target) => Ok(object::selector(&target)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn pods_of_nodes(session: &Session) -> Result<BTreeMap<String, usize>, Failure> {
    let running = "status.phase!=Succeeded,status.phase!=Failed";
    let call = Call::get("/api/v1/pods").query("fieldSelector", running);
    let mut count = BTreeMap::new();
    for pod in object::items(session.api().await?.call(call).await?) {
        *count.entry(object::text(&pod, "/spec/nodeName").to_owned()).or_default() += 1;
    }
    Ok(count)
}
