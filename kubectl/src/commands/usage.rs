//! `kubectl get --usage`: columns that say what nodes and pods use, and what has pods.

use std::collections::{BTreeMap, HashMap};

use api_machinery::selector::LabelSelector;
use serde_json::{Value, json};

use super::{
    target::Target,
    top::{amounts::Amounts, source::metrics},
};
use crate::{Failure, api::Call, object, session::Session};

const UNKNOWN: &str = "<unknown>";
/// What objects are asked for with of which no more than the metadata is wanted.
const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

/// Adds the columns to a table whose rows have the whole objects.
pub(super) async fn add_columns(
    session: &Session,
    target: &Target,
    table: &mut Value,
) -> Result<(), Failure> {
    let figures = Figures::of(session, target).await?;
    let mut names = vec!["CPU", "Memory"];
    if matches!(figures.of, Of::Nodes(_)) {
        names.push("Pods");
    }
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
    /// By namespace and name.
    metrics: HashMap<(String, String), Value>,
    of: Of,
}

/// What the rows are of.
enum Of {
    /// With how many pods there are on each.
    Nodes(HashMap<String, usize>),
    Pods,
    /// What has pods, of which these run.
    Sets(HashMap<String, Vec<Pod>>),
}

/// A pod of a namespace.
struct Pod {
    name: String,
    labels: BTreeMap<String, String>,
}

impl Figures {
    async fn of(session: &Session, target: &Target) -> Result<Self, Failure> {
        let resource = &target.resource;
        let of = match (&*resource.group, &*resource.plural) {
            ("", "nodes") => Of::Nodes(pods_of_nodes(session).await?),
            ("", "pods") => Of::Pods,
            _ => Of::Sets(running(session, target).await?),
        };
        let collection = match of {
            Of::Nodes(_) => "nodes".to_owned(),
            Of::Pods | Of::Sets(_) => pods(target),
        };
        let call = Call::get(format!("/apis/metrics.k8s.io/v1beta1/{collection}"));
        let metrics = metrics(session, call).await?.into_iter();
        Ok(Self { metrics: metrics.map(|metrics| (identity(&metrics), metrics)).collect(), of })
    }

    async fn cells(&self, session: &Session, object: &Value) -> Result<Vec<String>, Failure> {
        let metrics = match &self.of {
            Of::Nodes(_) | Of::Pods => Vec::from_iter(self.metrics.get(&identity(object))),
            Of::Sets(running) => {
                let selector = selector(session, object).await?;
                selector.and_then(|it| self.all_of(running, object, &it)).unwrap_or_default()
            }
        };
        let amounts = metrics.iter().map(|metrics| Amounts::of_metrics(metrics));
        let amounts = amounts.reduce(|one, other| one + other).map(Amounts::texts);
        // A sum is as old as the oldest of its parts.
        let synced = metrics.iter().map(|metrics| object::text(metrics, "/timestamp")).min();
        let mut cells = amounts.unwrap_or([UNKNOWN, UNKNOWN].map(str::to_owned)).to_vec();
        if let Of::Nodes(pods) = &self.of {
            cells.push(pods.get(object::name(object)).unwrap_or(&0).to_string());
        }
        cells.push(synced.unwrap_or(UNKNOWN).to_owned());
        Ok(cells)
    }

    /// Those of all its pods that run; none if one of them has none, since the sum would be too small.
    fn all_of(
        &self,
        running: &HashMap<String, Vec<Pod>>,
        set: &Value,
        selector: &LabelSelector,
    ) -> Option<Vec<&Value>> {
        let namespace = object::namespace(set)?;
        let pods = running.get(namespace)?.iter().filter(|pod| selector.matches(&pod.labels));
        let key = |pod: &Pod| (namespace.to_owned(), pod.name.clone());
        pods.map(|pod| self.metrics.get(&key(pod))).collect()
    }
}

fn identity(object: &Value) -> (String, String) {
    let namespace = object::namespace(object).unwrap_or_default();
    (namespace.to_owned(), object::name(object).to_owned())
}

/// The collection of those pods that rows are about.
fn pods(target: &Target) -> String {
    let within = target.namespace.as_ref().map(|namespace| format!("namespaces/{namespace}/"));
    within.unwrap_or_default() + "pods"
}

/// Pods that run, by namespace.
async fn running(session: &Session, target: &Target) -> Result<HashMap<String, Vec<Pod>>, Failure> {
    let call = Call::get(format!("/api/v1/{}", pods(target)))
        .query("fieldSelector", "status.phase=Running")
        .accept(METADATA);
    let mut running = HashMap::<_, Vec<_>>::new();
    for pod in object::items(session.api().await?.call(call).await?) {
        let (namespace, name) = identity(&pod);
        let labels = object::map(&pod, "/metadata/labels");
        running.entry(namespace).or_default().push(Pod { name, labels });
    }
    Ok(running)
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

async fn pods_of_nodes(session: &Session) -> Result<HashMap<String, usize>, Failure> {
    let running = "status.phase!=Succeeded,status.phase!=Failed";
    let call = Call::get("/api/v1/pods").query("fieldSelector", running);
    let mut count = HashMap::new();
    for pod in object::items(session.api().await?.call(call).await?) {
        *count.entry(object::text(&pod, "/spec/nodeName").to_owned()).or_default() += 1;
    }
    Ok(count)
}
