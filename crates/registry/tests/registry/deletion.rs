//! How objects go.

use api_types::meta::DeleteOptions;
use registry::{Deletion, Part, ResourceDef};
use serde_json::{Value, json};

use crate::{create, def, example, now, update, update_part};

fn grace(seconds: i64) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
}

fn policy(name: &str) -> DeleteOptions {
    DeleteOptions { propagation_policy: Some(name.to_owned()), ..DeleteOptions::default() }
}

fn begin(def: &ResourceDef, object: &Value, options: &DeleteOptions) -> Deletion {
    def.begin_deletion(&def.stored(object).unwrap(), options, now())
}

fn marked(def: &ResourceDef, object: &Value, options: &DeleteOptions) -> Value {
    match begin(def, object, options) {
        Deletion::Mark(marked) => marked.to_value().unwrap(),
        other => panic!("expected a mark, found {other:?}"),
    }
}

#[track_caller]
fn check_removed(def: &ResourceDef, object: &Value, options: &DeleteOptions) {
    let done = begin(def, object, options);
    assert!(matches!(done, Deletion::Remove), "{done:?}: {object}");
}

#[track_caller]
fn check_pending(def: &ResourceDef, object: &Value, options: &DeleteOptions) {
    let done = begin(def, object, options);
    assert!(matches!(done, Deletion::Pending), "{done:?}: {object}");
}

fn is_finished(def: &ResourceDef, object: &Value) -> bool {
    def.is_finished(&def.stored(object).unwrap())
}

fn pod(node: &str, phase: &str) -> (ResourceDef, Value) {
    let def = def("pods");
    let mut pod = create(&def, example(&def));
    pod["spec"]["terminationGracePeriodSeconds"] = json!(30);
    pod["spec"]["nodeName"] = json!(node);
    pod["status"]["phase"] = json!(phase);
    (def, pod)
}

#[test]
fn what_nothing_holds_goes_at_once() {
    let is_held = |def: &ResourceDef| {
        let held = ["namespaces", "customresourcedefinitions", "jobs", "replicationcontrollers"];
        held.contains(&&*def.names.plural)
    };
    for def in registry::all().into_iter().filter(|def| !is_held(def)) {
        let object = create(&def, example(&def));
        check_removed(&def, &object, &DeleteOptions::default());
    }
}

#[test]
fn a_running_pod_has_its_grace_period() {
    let (def, pod) = pod("n1", "Running");
    let marked = marked(&def, &pod, &DeleteOptions::default());
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T01:00:30Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(!is_finished(&def, &marked));
    check_pending(&def, &marked, &DeleteOptions::default());
    check_pending(&def, &marked, &grace(60));
    check_removed(&def, &marked, &grace(0));
}

#[test]
fn a_second_request_can_shorten_it() {
    let (def, pod) = pod("n1", "Running");
    let first = marked(&def, &pod, &DeleteOptions::default());
    let second = marked(&def, &first, &grace(5));
    assert_eq!(second["metadata"]["deletionTimestamp"], "2026-01-01T01:00:05Z");
    assert_eq!(second["metadata"]["deletionGracePeriodSeconds"], 5);
}

#[test]
fn a_pod_that_nobody_runs_has_none() {
    for (node, phase) in [("", "Pending"), ("n1", "Succeeded"), ("n1", "Failed")] {
        let (def, pod) = pod(node, phase);
        check_removed(&def, &pod, &grace(30));
    }
}

#[test]
fn finalizers_hold_it_until_the_last_is_gone() {
    let def = def("configmaps");
    let mut given = example(&def);
    given["metadata"]["finalizers"] = json!(["example.com/keep"]);
    let object = create(&def, given);
    let marked = marked(&def, &object, &DeleteOptions::default());
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T01:00:00Z");
    check_pending(&def, &marked, &DeleteOptions::default());

    let mut more = marked.clone();
    more["metadata"]["finalizers"] = json!(["example.com/keep", "example.com/new"]);
    let error = update(&def, &marked, more).unwrap_err().to_string();
    assert!(error.contains("no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/new\"}"), "{error}");

    let mut fewer = marked.clone();
    fewer["metadata"].as_object_mut().unwrap().remove("finalizers");
    assert!(is_finished(&def, &update(&def, &marked, fewer).unwrap()));

    let mut none = marked.clone();
    none["metadata"]["finalizers"] = json!([]);
    let freed = update(&def, &marked, none).unwrap();
    assert!(is_finished(&def, &freed));
    assert_eq!(freed["metadata"].get("finalizers"), None);
}

#[test]
fn the_policy_leaves_its_finalizer() {
    let def = def("replicasets");
    let set = create(&def, example(&def));
    for (name, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let marked = marked(&def, &set, &policy(name));
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert_eq!(marked["metadata"]["generation"], 2);
        check_removed(&def, &marked, &policy("Background"));
    }
    check_removed(&def, &set, &policy("Background"));
}

/// Kubernetes: `DefaultGarbageCollectionPolicy` of Jobs and ReplicationControllers.
#[test]
fn kinds_of_before_there_was_a_policy_leave_their_pods() {
    for name in ["jobs", "replicationcontrollers"] {
        let def = def(name);
        let object = create(&def, example(&def));
        let orphaned = marked(&def, &object, &DeleteOptions::default());
        assert_eq!(orphaned["metadata"]["finalizers"], json!(["orphan"]));
        check_removed(&def, &object, &policy("Background"));
        let foreground = marked(&def, &object, &policy("Foreground"));
        check_pending(&def, &foreground, &DeleteOptions::default());
    }
    let jobs = def("jobs");
    let warning = jobs.deletion_warning(&DeleteOptions::default()).unwrap();
    assert!(warning.starts_with("child pods are preserved by default when jobs are deleted"));
    assert_eq!(jobs.deletion_warning(&policy("Orphan")), None);
    assert_eq!(def("pods").deletion_warning(&DeleteOptions::default()), None);
}

#[test]
fn a_namespace_stays_until_it_is_empty() {
    let def = def("namespaces");
    let namespace = create(&def, example(&def));
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    let marked = marked(&def, &namespace, &DeleteOptions::default());
    assert_eq!(marked["status"]["phase"], "Terminating");
    check_pending(&def, &marked, &DeleteOptions::default());
    let given = json!({"spec": {"finalizers": []}, "status": {"phase": "Active"}});
    let unheld = update_part(&def, Part::Finalizers, &marked, given).unwrap();
    assert_eq!(unheld["status"], marked["status"]);
    assert!(is_finished(&def, &unheld) && !is_finished(&def, &marked));
}

#[test]
fn what_can_not_be_read_is_not_deleted() {
    let def = def("pods");
    let mut damaged = create(&def, example(&def));
    damaged["spec"]["nodeName"] = json!("n1");
    damaged["spec"]["containers"] = json!("none");
    let error = def.stored(&damaged).unwrap_err();
    assert_eq!((error.code(), error.reason()), (500, "StoreReadError"), "{error}");
    assert!(error.to_string().contains("spec.containers"), "{error}");
    let node = def.fields.iter().position(|field| field == "spec.nodeName").unwrap();
    assert_eq!(def.stored_field_values(&damaged)[node], "n1");
}
