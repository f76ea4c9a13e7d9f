//! The revisions of an object: the ReplicaSets that a Deployment has, or had, its pods by; the ControllerRevisions of others.

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

/// What an object's pods are made of, or were.
pub(super) struct Revision {
    pub(super) number: i64,
    pub(super) whole_template: Value,
    /// The ReplicaSet or ControllerRevision.
    kept: Value,
}

/// The revisions, the oldest first.
pub(super) struct Revisions {
    owner: Value,
    all: Vec<Revision>,
}

impl Revisions {
    pub(super) async fn fetch(session: &Session, owner: &Value) -> Result<Self, Failure> {
        let namespace = object::namespace(owner).unwrap_or_default();
        let selector = object::selector(owner).map(|it| it.to_string()).unwrap_or_default();
        let (of, plural): (fn(Value) -> Revision, _) = match object::kind(owner) {
            "Deployment" => (of_set, "replicasets"),
            _ => (of_controller_revision, "controllerrevisions"),
        };
        let call = Call::get(format!("/apis/apps/v1/namespaces/{namespace}/{plural}"));
        let list = session.api().await?.call(call.query("labelSelector", selector)).await?;
        let uid = text(owner, "/metadata/uid");
        let is_its = |kept: &Value| {
            let owners = object::list(kept, "/metadata/ownerReferences");
            owners.iter().any(|it| it["controller"] == true && text(it, "/uid") == uid)
        };
        let mut all: Vec<_> = object::items(list).into_iter().filter(is_its).map(of).collect();
        all.retain(|it| it.number > 0);
        all.sort_by_key(|it| it.number);
        Ok(Self { owner: owner.clone(), all })
    }

    pub(super) fn table(&self) -> String {
        let row = |revision: &Revision| {
            let cause = Some(text(&revision.kept, CAUSE)).filter(|cause| !cause.is_empty());
            format!("{}\t{}\n", revision.number, cause.unwrap_or("<none>"))
        };
        let rows: String = self.all.iter().map(row).collect();
        tabs::align(&format!("REVISION\tCHANGE-CAUSE\n{rows}"), 0, 2)
    }

    pub(super) fn find(&self, wanted: i64) -> Result<&Revision, Failure> {
        let found = self.all.iter().find(|it| it.number == wanted);
        found.ok_or_else(|| Failure::message(format!("unable to find the specified revision {wanted}: kubectl rollout history shows those that there are")))
    }

    /// The one before the newest.
    pub(super) fn before(&self) -> Result<&Revision, Failure> {
        let before = self.all.iter().rev().nth(1);
        before.ok_or_else(|| {
            let kind = object::kind(&self.owner).to_lowercase();
            let name = object::name(&self.owner);
            Failure::message(format!("no rollout history found for {kind} {name:?}"))
        })
    }
}

fn of_set(set: Value) -> Revision {
    let number = revision(&set);
    Revision { number, whole_template: set["spec"]["template"].clone(), kept: set }
}

/// Its data are a patch that replaces the template.
fn of_controller_revision(kept: Value) -> Revision {
    let mut template = kept["data"]["spec"]["template"].clone();
    template.as_object_mut().map(|template| template.remove("$patch"));
    Revision {
        number: object::number(&kept, "/revision").unwrap_or(0),
        whole_template: template,
        kept,
    }
}

impl Revision {
    /// The template that it brings back.
    pub(super) fn template(&self) -> Value {
        canonical(&self.whole_template)
    }

    /// The annotations of the object when it has gone back: a Deployment gets those of the revision, with what is its own.
    pub(super) fn annotations(&self, owner: &Value) -> Value {
        if object::kind(owner) != "Deployment" {
            let kept = &owner["metadata"]["annotations"];
            return if kept.is_null() { json!({}) } else { kept.clone() };
        }
        let of = |object: &Value, own: bool| -> Map<String, Value> {
            let all = object::map(object, "/metadata/annotations").into_iter();
            let chosen = all.filter(|(name, _)| OWN.contains(&name.as_str()) == own);
            chosen.map(|(name, value)| (name, json!(value))).collect()
        };
        let mut annotations = of(&self.kept, false);
        annotations.extend(of(owner, true));
        Value::Object(annotations)
    }
}

/// That of a ReplicaSet or Deployment.
pub(super) fn revision(set: &Value) -> i64 {
    text(set, REVISION).parse().unwrap_or(0)
}

/// The template without what tells the pods of one set from another's.
pub(super) fn canonical(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}
