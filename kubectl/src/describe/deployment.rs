//! The page of a Deployment.

use serde_json::Value;

use super::{
    Related,
    replica_set::{conditions, template},
    sheet::Sheet,
};
use crate::object::{list, map, name, number, scalar, selector_text, text};

const HASH_LABEL: &str = "pod-template-hash";

pub(super) fn describe(deployment: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(deployment));
    sheet.field(0, "Namespace", text(deployment, "/metadata/namespace"));
    sheet.field(0, "CreationTimestamp", sheet.time(deployment, "/metadata/creationTimestamp"));
    sheet.labels("Labels", &map(deployment, "/metadata/labels"));
    sheet.annotations("Annotations", &map(deployment, "/metadata/annotations"));
    sheet.field(0, "Selector", selector_text(deployment));
    sheet.field(0, "Replicas", replicas(deployment));
    sheet.field(0, "StrategyType", text(deployment, "/spec/strategy/type"));
    sheet.field(0, "MinReadySeconds", number(deployment, "/spec/minReadySeconds").unwrap_or(0));
    if let Some(rolling) = deployment.pointer("/spec/strategy/rollingUpdate") {
        let part = |name: &str| scalar(&rolling[name]);
        let (unavailable, surge) = (part("maxUnavailable"), part("maxSurge"));
        let limits = format!("{unavailable} max unavailable, {surge} max surge");
        sheet.field(0, "RollingUpdateStrategy", limits);
    }
    template(&mut sheet, &deployment["spec"]["template"]);
    conditions(&mut sheet, list(deployment, "/status/conditions"));
    let (new, old) = sets(deployment, related);
    sheet.field(0, "OldReplicaSets", joined(&old));
    sheet.field(0, "NewReplicaSet", joined(&new));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn replicas(deployment: &Value) -> String {
    let of = |count: &str| number(deployment, count).unwrap_or(0);
    format!(
        "{} desired | {} updated | {} total | {} available | {} unavailable",
        of("/spec/replicas"),
        of("/status/updatedReplicas"),
        of("/status/replicas"),
        of("/status/availableReplicas"),
        of("/status/unavailableReplicas")
    )
}

/// The set with the Deployment's template, and the others that have, or are to have, pods.
fn sets<'a>(deployment: &Value, related: &'a Related) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let uid = text(deployment, "/metadata/uid");
    let is_its = |set: &&Value| {
        let owners = list(set, "/metadata/ownerReferences");
        owners.iter().any(|it| it["controller"] == true && text(it, "/uid") == uid)
    };
    let is_new = |set: &&Value| {
        let mut template = set["spec"]["template"].clone();
        let labels = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
        labels.map(|labels| labels.remove(HASH_LABEL));
        template == deployment["spec"]["template"]
    };
    let (new, mut old): (Vec<_>, Vec<_>) = related.sets.iter().filter(is_its).partition(is_new);
    old.retain(|set| number(set, "/spec/replicas") > Some(0));
    (new, old)
}

fn joined(sets: &[&Value]) -> String {
    let one = |set: &&Value| {
        let (made, wanted) = (number(set, "/status/replicas"), number(set, "/spec/replicas"));
        let (made, wanted) = (made.unwrap_or(0), wanted.unwrap_or(0));
        format!("{} ({made}/{wanted} replicas created)", name(set))
    };
    match sets {
        [] => "<none>".to_owned(),
        sets => sets.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}
