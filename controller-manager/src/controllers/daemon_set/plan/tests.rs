//! What is done about which pods on which nodes, and what a status says of it.

use serde_json::{Value, json};

use super::*;
use crate::controllers::daemon_set::status;
use crate::history::REVISION_LABEL;

fn set(strategy: &Value) -> DaemonSet {
    let metadata = json!({"namespace": "ns", "name": "logs", "uid": "d", "generation": 2});
    let template = json!({"metadata": {"labels": {"app": "logs"}},
        "spec": {"containers": [{"name": "c"}], "nodeSelector": {"disk": "ssd"}}});
    let selector = json!({"matchLabels": {"app": "logs"}});
    let spec = json!({"selector": selector, "template": template, "updateStrategy": strategy,
        "minReadySeconds": 10});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn rolling(unavailable: Value, surge: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
}

fn node(name: &str, taints: &Value) -> Arc<Node> {
    let metadata = json!({"name": name, "labels": {"disk": "ssd"}});
    let node = json!({"metadata": metadata, "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A pod as `a old ready`: its node, and what holds for it.
fn pod(text: &str) -> Arc<Pod> {
    let words: Vec<&str> = text.split(' ').collect();
    let is = |word: &str| words.contains(&word);
    let phase = ["Failed", "Succeeded"].into_iter().find(|phase| is(phase)).unwrap_or("Running");
    let status = if is("ready") || is("just") { "True" } else { "False" };
    let since = if is("just") { "2025-12-31T23:59:53Z" } else { "2025-01-01T00:00:00Z" };
    let going = is("going").then_some("2026-01-01T00:00:00Z");
    let hash = if is("old") { "old" } else { "new" };
    let bound = (!is("unbound")).then_some(words[0]);
    let term =
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [words[0]]}]});
    let required =
        json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
    let created = if is("later") { "2026-01-01T00:00:00Z" } else { "2025-01-01T00:00:00Z" };
    let name = format!("{}-{hash}{}", words[0], if is("later") { "-later" } else { "" });
    let pod = json!({
        "metadata": {"name": name, "labels": {REVISION_LABEL: hash}, "deletionTimestamp": going,
            "creationTimestamp": created},
        "spec": {"nodeName": bound, "containers": [], "affinity": {"nodeAffinity": required}},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": since}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn view<T>(
    strategy: &Value,
    nodes: &[Arc<Node>],
    pods: &[&str],
    then: impl FnOnce(&View<'_>) -> T,
) -> T {
    let set = set(strategy);
    let spec = set.spec.as_ref().unwrap();
    let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
    let (placement, hashes) = (Placement::of(spec), ["new".to_owned()]);
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    then(&View::new((&set, spec), &placement, &hashes, nodes, &pods, now))
}

/// What is done, as `+a -b-old`, on nodes of which those with a star bear no new pods.
fn done(strategy: &Value, nodes: &str, pods: &[&str], held: &[&str]) -> String {
    let nodes = nodes.split(' ').map(|name| match name.strip_suffix('*') {
        Some(name) => node(name, &json!([{"key": "gpu", "effect": "NoSchedule"}])),
        None => node(name, &json!([])),
    });
    let nodes: Vec<_> = nodes.collect();
    let held = held.iter().map(|node| (*node).to_owned()).collect();
    let plan = view(strategy, &nodes, pods, |view| view.plan(&held));
    let made = plan.create.iter().map(|node| format!("+{node}"));
    let name = |pod: &Arc<Pod>| format!("-{}", pod.metadata.name.as_ref().unwrap());
    let mut gone: Vec<_> = plan.delete.iter().map(name).collect();
    gone.sort();
    made.chain(gone).collect::<Vec<_>>().join(" ")
}

fn check(strategy: &Value, nodes: &str, pods: &[&str], expected: &str) {
    assert_eq!(done(strategy, nodes, pods, &[]), expected, "{strategy} {nodes} {pods:?}");
}

#[test]
fn each_node_that_fits_has_one_pod() {
    let one = rolling(json!(1), json!(0));
    check(&one, "a b", &[], "+a +b");
    check(&one, "a b", &["a ready"], "+b");
    check(&one, "a", &["a going"], "");
    check(&one, "a", &["a ready", "b ready"], "");
    check(&one, "a", &["a ready", "b unbound"], "-b-new");
    check(&one, "a", &["a later", "a old"], "-a-new-later");
    check(&one, "a", &["a unbound", "a old later"], "-a-new");
    check(&one, "a*", &[], "");
    check(&one, "a*", &["a ready"], "");
}

#[test]
fn what_has_ended_goes_unless_its_node_is_held() {
    let one = rolling(json!(1), json!(0));
    check(&one, "a", &["a Failed"], "-a-new");
    check(&one, "a", &["a Succeeded"], "-a-new");
    check(&one, "a", &["a Failed going"], "+a");
    assert_eq!(done(&one, "a", &["a Failed"], &["a"]), "");
    assert_eq!(done(&one, "a", &["a Succeeded"], &["a"]), "-a-new");
    assert_eq!(done(&one, "a", &["a old Failed"], &["a"]), "-a-old", "a new template is worth it");
    let surge = rolling(json!(0), json!(1));
    check(&surge, "a", &["a Failed"], "+a -a-new");
    assert_eq!(done(&surge, "a", &["a Failed"], &["a"]), "");
}

#[test]
fn a_template_takes_over_within_what_may_be_missing() {
    let (nodes, old) = ("a b c", ["a old ready", "b old ready", "c old ready"]);
    let one = rolling(json!(1), json!(0));
    check(&one, nodes, &old, "-a-old");
    check(&rolling(json!("50%"), json!(0)), nodes, &old, "-a-old -b-old");
    check(&json!({"type": "OnDelete"}), nodes, &old, "");
    check(&one, nodes, &["a", "b old ready", "c old ready"], "");
    check(&one, nodes, &["a just", "b old ready", "c old ready"], "");
    check(&one, nodes, &["a ready", "b old ready", "c old ready"], "-b-old");
    check(&one, nodes, &["a old going", "b old ready", "c old ready"], "");
    // What does not serve anyway goes at once.
    check(&one, nodes, &["a old", "b old", "c old ready"], "-a-old -b-old");
}

#[test]
fn with_a_surge_the_old_pod_goes_when_the_new_one_serves() {
    let surge = rolling(json!(0), json!(1));
    check(&surge, "a b", &["a old ready", "b old ready"], "+a");
    check(&rolling(json!(0), json!("100%")), "a b", &["a old ready", "b old ready"], "+a +b");
    check(&surge, "a b", &["a old ready", "a", "b old ready"], "");
    check(&surge, "a b", &["a old ready", "a just", "b old ready"], "");
    check(&surge, "a b", &["a old ready", "a ready", "b old ready"], "-a-old");
    check(&surge, "a b", &["a old", "a", "b old ready"], "-a-old");
    check(&surge, "a b", &["a old", "b old ready"], "+a +b");
    check(&surge, "a b", &["a old going", "b old ready"], "+a");
    check(&surge, "a", &["a ready", "a later"], "-a-new-later");
}

#[test]
fn with_a_surge_a_node_that_gets_no_pods_any_more_keeps_its_own_until_others_serve() {
    let surge = rolling(json!(0), json!(1));
    check(&surge, "a* b", &["a old ready", "b"], "");
    check(&surge, "a* b", &["a old ready", "b ready"], "-a-old");
    check(&surge, "a* b", &["a old", "b"], "-a-old");
}

#[test]
fn a_daemon_bears_what_a_node_suffers_and_not_what_it_refuses() {
    let set = set(&rolling(json!(1), json!(0)));
    let mut spec = set.spec.unwrap();
    let place = |spec: &DaemonSetSpec, key: &str, effect: &str| {
        Placement::of(spec).on(&node("a", &json!([{"key": key, "effect": effect}])))
    };
    let at = |key: &str, effect: &str| place(&spec, key, effect);
    assert_eq!(at("node.kubernetes.io/not-ready", "NoExecute"), Place::Runs);
    assert_eq!(at("node.kubernetes.io/unschedulable", "NoSchedule"), Place::Runs);
    assert_eq!(at("node.kubernetes.io/network-unavailable", "NoSchedule"), Place::Keeps);
    assert_eq!(at("gpu", "NoSchedule"), Place::Keeps);
    assert_eq!(at("gpu", "PreferNoSchedule"), Place::Runs);
    assert_eq!(at("gpu", "NoExecute"), Place::None);
    let other: Node = serde_json::from_value(json!({"metadata": {"name": "b"}})).unwrap();
    assert_eq!(Placement::of(&spec).on(&other), Place::None, "it has no such label");
    let pod = spec.template.spec.as_mut().unwrap();
    pod.host_network = Some(true);
    assert_eq!(place(&spec, "node.kubernetes.io/network-unavailable", "NoSchedule"), Place::Runs);
    let pod = spec.template.spec.as_mut().unwrap();
    pod.node_name = Some("b".to_owned());
    assert_eq!(Placement::of(&spec).on(&node("a", &json!([]))), Place::None, "it is for another");
}

#[test]
fn a_pod_is_for_its_node() {
    let mut set = set(&rolling(json!(1), json!(0)));
    let term = json!([{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]);
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": term}}});
    let template = set.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    template.affinity = serde_json::from_value(affinity).unwrap();
    let spec = set.spec.as_ref().unwrap();
    let made = Placement::of(spec).pod(&set, spec, "a", "new");
    assert_eq!((node_of(&made), hash_of(&made)), (Some("a"), Some("new")));
    let made = made.spec.unwrap();
    assert_eq!(made.tolerations.unwrap().len(), 6);
    let affinity = made.affinity.unwrap().node_affinity.unwrap();
    let required = affinity.required_during_scheduling_ignored_during_execution.unwrap();
    // Any one term would be enough.
    assert_eq!(required.node_selector_terms.len(), 1);
}

#[test]
fn a_status_counts_nodes() {
    let nodes = ["a", "b", "c"].map(|name| node(name, &json!([])));
    let pods = ["a ready", "b old", "x ready", "c just"];
    let told = view(&json!({"type": "OnDelete"}), &nodes, &pods, |view| status::of(view, 0));
    let (status, next) = told;
    assert_eq!(next, crate::frame::Next::After(std::time::Duration::from_secs(3)));
    let told = serde_json::to_value(status).unwrap();
    assert_eq!(
        told,
        json!({"observedGeneration": 2, "desiredNumberScheduled": 3,
            "currentNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 2,
            "updatedNumberScheduled": 2, "numberAvailable": 1, "numberUnavailable": 2})
    );
    let tainted = [node("a", &json!([{"key": "gpu", "effect": "NoSchedule"}]))];
    let (status, _) =
        view(&json!({"type": "OnDelete"}), &tainted, &["a ready"], |view| status::of(view, 0));
    assert_eq!((status.number_misscheduled, status.desired_number_scheduled), (1, 0));
}
