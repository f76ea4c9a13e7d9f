use serde_json::json;

use super::*;

fn function(name: &str, timeout: Option<i32>) -> Function {
    let mut function = Function::default();
    function.metadata.namespace = Some("default".into());
    function.metadata.name = Some(name.into());
    function.spec.timeout_seconds = timeout;
    function
}

/// A pod of the function `add` with this address.
fn pod(name: &str, ip: &str, ready: &str) -> Pod {
    let object = json!({
        "metadata": {
            "namespace": "default",
            "name": name,
            "labels": {"minik8s.io/function": "add"},
        },
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
    });
    serde_json::from_value(object).unwrap()
}

/// The function `add` and these pods, completely listed.
fn directory(pods: &[Pod]) -> Directory {
    let mut directory = Directory::default();
    list(&mut directory, pods);
    directory.function(Event::Init);
    directory.function(Event::InitApply(function("add", None)));
    directory.function(Event::InitDone);
    directory
}

fn list(directory: &mut Directory, pods: &[Pod]) {
    directory.pod(Event::Init);
    pods.iter().for_each(|pod| directory.pod(Event::InitApply(pod.clone())));
    directory.pod(Event::InitDone);
}

fn check(directory: &Directory, expected: &[&str]) {
    let target = directory.target("default", "add").unwrap();
    assert_eq!(target.instances.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn nothing_is_absent_before_the_lists_are_complete() {
    let mut directory = Directory::default();
    assert_eq!(directory.target("default", "add"), Err(Missing::NotYetKnown));
    list(&mut directory, &[]);
    directory.function(Event::Init);
    directory.function(Event::InitApply(function("add", None)));
    assert_eq!(directory.target("default", "add"), Err(Missing::NotYetKnown));
    directory.function(Event::InitDone);
    assert_eq!(directory.target("default", "sub"), Err(Missing::Unknown));
    assert_eq!(directory.target("other", "add"), Err(Missing::Unknown));
    check(&directory, &[]);
}

#[test]
fn only_ready_pods_with_an_address_are_instances() {
    let mut leaving = pod("e", "10.244.0.6", "True");
    leaving.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let mut foreign = pod("d", "10.244.0.5", "True");
    foreign.metadata.labels = None;
    let pods = [
        pod("a", "10.244.0.2", "True"),
        pod("b", "10.244.0.3", "False"),
        pod("c", "", "True"),
        foreign,
        leaving,
    ];
    check(&directory(&pods), &["10.244.0.2"]);
}

#[test]
fn instances_come_and_go_with_their_pods() {
    let mut directory = directory(&[pod("a", "10.244.0.2", "True")]);
    directory.pod(Event::Apply(pod("b", "10.244.0.3", "True")));
    check(&directory, &["10.244.0.2", "10.244.0.3"]);
    directory.pod(Event::Apply(pod("a", "10.244.0.2", "False")));
    check(&directory, &["10.244.0.3"]);
    directory.pod(Event::Delete(pod("b", "10.244.0.3", "True")));
    check(&directory, &[]);
}

#[test]
fn a_new_list_replaces_the_old_one_when_it_is_complete() {
    let mut directory = directory(&[pod("a", "10.244.0.2", "True")]);
    directory.pod(Event::Init);
    directory.pod(Event::InitApply(pod("b", "10.244.0.3", "True")));
    check(&directory, &["10.244.0.2"]);
    directory.pod(Event::InitDone);
    check(&directory, &["10.244.0.3"]);
}

#[test]
fn a_function_says_how_long_a_call_may_take() {
    let mut directory = directory(&[]);
    let timeout = |directory: &Directory| directory.target("default", "add").unwrap().timeout;
    assert_eq!(timeout(&directory), DEFAULT_TIMEOUT);
    directory.function(Event::Apply(function("add", Some(5))));
    assert_eq!(timeout(&directory), Duration::from_secs(5));
    directory.function(Event::Apply(function("add", Some(-1))));
    assert_eq!(timeout(&directory), DEFAULT_TIMEOUT);
    directory.function(Event::Delete(function("add", None)));
    assert_eq!(directory.target("default", "add"), Err(Missing::Unknown));
}
