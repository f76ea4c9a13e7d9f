//! The revisions of a Deployment: the ReplicaSets that it has, or had, its pods by.

use serde_json::{Map, Value, json};

use crate::{
    Failure,
    api::Call,
    object::{self, text},
    output::tabs,
    session::Session,
};

const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";
const CAUSE: &str = "/metadata/annotations/kubernetes.io~1change-cause";
const HASH_LABEL: &str = "pod-template-hash";
/// What is the set's or the Deployment's own, and does not come back with a template.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// The sets, the oldest revision first.
pub(super) struct Revisions {
    deployment: String,
    sets: Vec<Value>,
}

impl Revisions {
    pub(super) async fn fetch(session: &Session, deployment: &Value) -> Result<Self, Failure> {
        let namespace = object::namespace(deployment).unwrap_or_default();
        let selector = object::selector(deployment).map(|it| it.to_string()).unwrap_or_default();
        let call = Call::get(format!("/apis/apps/v1/namespaces/{namespace}/replicasets"));
        let list = session.api().await?.call(call.query("labelSelector", selector)).await?;
        let uid = text(deployment, "/metadata/uid");
        let mut sets = object::items(list);
        sets.retain(|set| {
            let owners = object::list(set, "/metadata/ownerReferences");
            let is_its =
                owners.iter().any(|it| it["controller"] == true && text(it, "/uid") == uid);
            is_its && revision(set) > 0
        });
        sets.sort_by_key(revision);
        Ok(Self { deployment: object::name(deployment).to_owned(), sets })
    }

    pub(super) fn table(&self) -> String {
        let row = |set: &Value| {
            let cause = Some(text(set, CAUSE)).filter(|cause| !cause.is_empty());
            format!("{}\t{}\n", revision(set), cause.unwrap_or("<none>"))
        };
        let rows: String = self.sets.iter().map(row).collect();
        tabs::align(&format!("REVISION\tCHANGE-CAUSE\n{rows}"), 0, 2)
    }

    pub(super) fn find(&self, wanted: i64) -> Result<&Value, Failure> {
        let found = self.sets.iter().find(|set| revision(set) == wanted);
        found.ok_or_else(|| Failure::message(format!("unable to find the specified revision {wanted}: kubectl rollout history shows those that there are")))
    }

    /// The one before the newest.
    pub(super) fn before(&self) -> Result<&Value, Failure> {
        let before = self.sets.iter().rev().nth(1);
        before.ok_or_else(|| {
            Failure::message(format!(
                "no rollout history found for deployment {:?}",
                self.deployment
            ))
        })
    }
}

pub(super) fn revision(set: &Value) -> i64 {
    text(set, REVISION).parse().unwrap_or(0)
}

/// The template of the set's revision.
pub(super) fn template(set: &Value) -> Value {
    canonical(&set["spec"]["template"])
}

/// The template without what tells the pods of one set from another's.
pub(super) fn canonical(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// The annotations of the revision, with what is the Deployment's own.
pub(super) fn annotations(deployment: &Value, set: &Value) -> Value {
    let of = |object: &Value, own: bool| -> Map<String, Value> {
        let all = object::map(object, "/metadata/annotations").into_iter();
        let chosen = all.filter(|(name, _)| OWN.contains(&name.as_str()) == own);
        chosen.map(|(name, value)| (name, json!(value))).collect()
    };
    let mut annotations = of(set, false);
    annotations.extend(of(deployment, true));
    Value::Object(annotations)
}
