//! How objects go.

use api_types::meta::DeleteOptions;
use registry::{Deletion, ResourceDef};
use serde_json::{Value, json};

use crate::{context, create, def, example, now};

fn grace(seconds: i64) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
}

fn policy(name: &str) -> DeleteOptions {
    DeleteOptions { propagation_policy: Some(name.to_owned()), ..DeleteOptions::default() }
}

fn marked(def: &ResourceDef, object: &Value, options: &DeleteOptions) -> Value {
    match def.begin_deletion(object, options, now()).unwrap() {
        Deletion::Mark(marked) => marked,
        other => panic!("expected a mark, found {other:?}"),
    }
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
    for def in registry::all().into_iter().filter(|d| d.names.plural != "namespaces") {
        let object = create(&def, example(&def));
        let done = def.begin_deletion(&object, &DeleteOptions::default(), now()).unwrap();
        assert_eq!(done, Deletion::Remove, "{}", def.names.kind);
    }
}

#[test]
fn a_running_pod_has_its_grace_period() {
    let (def, pod) = pod("n1", "Running");
    let marked = marked(&def, &pod, &DeleteOptions::default());
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T01:00:30Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(!def.is_finished(&marked).unwrap());
    assert_eq!(
        def.begin_deletion(&marked, &DeleteOptions::default(), now()).unwrap(),
        Deletion::Pending
    );
    assert_eq!(def.begin_deletion(&marked, &grace(60), now()).unwrap(), Deletion::Pending);
    assert_eq!(def.begin_deletion(&marked, &grace(0), now()).unwrap(), Deletion::Remove);
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
        assert_eq!(
            def.begin_deletion(&pod, &grace(30), now()).unwrap(),
            Deletion::Remove,
            "{node} {phase}"
        );
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
    assert_eq!(
        def.begin_deletion(&marked, &DeleteOptions::default(), now()).unwrap(),
        Deletion::Pending
    );

    let mut more = marked.clone();
    more["metadata"]["finalizers"] = json!(["example.com/keep", "example.com/new"]);
    let error = def.update(&marked, more, &context(&def)).unwrap_err().to_string();
    assert!(error.contains("no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/new\"}"), "{error}");

    let mut fewer = marked.clone();
    fewer["metadata"].as_object_mut().unwrap().remove("finalizers");
    assert!(def.is_finished(&def.update(&marked, fewer, &context(&def)).unwrap()).unwrap());
}

#[test]
fn the_policy_leaves_its_finalizer() {
    let def = def("replicasets");
    let set = create(&def, example(&def));
    for (name, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let marked = marked(&def, &set, &policy(name));
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert_eq!(marked["metadata"]["generation"], 2);
        assert_eq!(
            def.begin_deletion(&marked, &policy("Background"), now()).unwrap(),
            Deletion::Remove
        );
    }
    assert_eq!(def.begin_deletion(&set, &policy("Background"), now()).unwrap(), Deletion::Remove);
}

#[test]
fn a_namespace_stays_until_it_is_empty() {
    let def = def("namespaces");
    let namespace = create(&def, example(&def));
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    let marked = marked(&def, &namespace, &DeleteOptions::default());
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(
        def.begin_deletion(&marked, &DeleteOptions::default(), now()).unwrap(),
        Deletion::Pending
    );
    let unheld = def.finalize(&marked, json!({"spec": {"finalizers": []}})).unwrap();
    assert!(def.is_finished(&unheld).unwrap() && !def.is_finished(&marked).unwrap());
}

#[test]
fn what_can_not_be_read_is_not_deleted() {
    let def = def("pods");
    let mut damaged = create(&def, example(&def));
    damaged["spec"]["nodeName"] = json!("n1");
    damaged["spec"]["containers"] = json!("none");
    let error = def.begin_deletion(&damaged, &DeleteOptions::default(), now()).unwrap_err();
    assert_eq!((error.code(), error.reason()), (500, "StoreReadError"), "{error}");
    assert!(error.to_string().contains("spec.containers"), "{error}");
    damaged["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
    assert!(def.is_finished(&damaged).is_err());
    assert!(def.fields(&damaged).contains(&("spec.nodeName", "n1".to_owned())));
}
