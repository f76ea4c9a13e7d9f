use api_types::minik8s::Runtime;
use serde_json::{Value, json};

use super::*;

fn function(name: &str, spec: &Value, status: &Value) -> Function {
    let metadata = json!({"namespace": "default", "name": name});
    serde_json::from_value(json!({
        "apiVersion": "minik8s.io/v1",
        "kind": "Function",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }))
    .unwrap()
}

/// A pod of the function `add` with this address.
fn pod(name: &str, ip: &str, version: &str, ready: &str) -> Pod {
    let labels = json!({"minik8s.io/function": "add", "minik8s.io/function-version": version});
    let object = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": labels},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
    });
    serde_json::from_value(object).unwrap()
}

fn add() -> Key {
    ("default".to_owned(), "add".to_owned())
}

/// The function `add` in version 1 and these pods, completely listed.
fn directory(pods: &[Pod]) -> Directory {
    let mut directory = Directory::default();
    list(&mut directory, pods);
    directory.function(Event::Init);
    serve(&mut directory, 1);
    directory.function(Event::InitDone);
    directory
}

fn serve(directory: &mut Directory, version: i64) -> BTreeSet<Key> {
    let add = function("add", &json!({}), &json!({"version": version}));
    match directory.is_complete() {
        true => directory.function(Event::Apply(add)),
        false => directory.function(Event::InitApply(add)),
    }
}

fn take(directory: &mut Directory, event: Event<Pod>) -> BTreeSet<Key> {
    directory.pod(event, Instant::now())
}

fn list(directory: &mut Directory, pods: &[Pod]) -> BTreeSet<Key> {
    take(directory, Event::Init);
    for pod in pods {
        take(directory, Event::InitApply(pod.clone()));
    }
    take(directory, Event::InitDone)
}

fn check(directory: &Directory, expected: &[&str]) {
    let add = add();
    let addresses = directory.serving(&add).map(|i| i.address.unwrap().to_string());
    assert_eq!(addresses.collect::<Vec<_>>(), expected);
}

#[test]
fn nothing_is_absent_before_the_lists_are_complete() {
    let mut directory = Directory::default();
    list(&mut directory, &[]);
    directory.function(Event::Init);
    serve(&mut directory, 1);
    assert!(!directory.is_complete());
    directory.function(Event::InitDone);
    assert!(directory.is_complete());
    assert!(directory.settings(&add()).is_some());
    check(&directory, &[]);
}

/// They are those of a function of the same name that was deleted.
#[test]
fn a_function_without_a_version_has_no_instances() {
    let mut directory = directory(&[pod("a", "10.0.0.1", "1", "True")]);
    check(&directory, &["10.0.0.1"]);
    directory.function(Event::Delete(function("add", &json!({}), &json!({}))));
    directory.function(Event::Apply(function("add", &json!({}), &json!({}))));
    check(&directory, &[]);
}

#[test]
fn only_ready_pods_that_stay_are_called() {
    let mut leaving = pod("d", "10.0.0.4", "1", "True");
    leaving.metadata.deletion_timestamp = Some(api_types::meta::Time(Default::default()));
    let mut foreign = pod("e", "10.0.0.5", "1", "True");
    foreign.metadata.labels = None;
    let pods = [
        pod("a", "10.0.0.1", "1", "True"),
        pod("b", "10.0.0.2", "1", "False"),
        pod("c", "", "1", "True"),
        leaving,
        foreign,
    ];
    check(&directory(&pods), &["10.0.0.1"]);
}

/// It is ready to be told what it is.
#[test]
fn what_was_loaded_into_an_instance_is_lost_with_its_container() {
    let check = |annotation: &str, restarts: u32, expected: &[&str]| {
        let mut pod = pod("a", "10.0.0.1", "1", "True");
        pod.metadata.annotations = Some([(annotation.to_owned(), "2".to_owned())].into());
        let containers = json!([{"name": "function", "image": "", "imageID": "", "ready": true,
            "restartCount": restarts}]);
        pod.status.as_mut().unwrap().container_statuses =
            serde_json::from_value(containers).unwrap();
        check(&directory(&[pod]), expected);
    };
    check(Function::ADOPTED_ANNOTATION, 0, &["10.0.0.1"]);
    check(Function::ADOPTED_ANNOTATION, 1, &[]);
    check("started-by-itself", 1, &["10.0.0.1"]);
}

#[test]
fn calls_go_to_the_version_that_serves() {
    let pods = [pod("a", "10.0.0.1", "1", "True"), pod("b", "10.0.0.2", "2", "True")];
    let mut directory = directory(&pods);
    check(&directory, &["10.0.0.1"]);
    assert_eq!(serve(&mut directory, 2), BTreeSet::from([add()]));
    check(&directory, &["10.0.0.2"]);
}

#[test]
fn changes_name_the_functions_that_they_concern() {
    let mut directory = directory(&[]);
    let ready = pod("a", "10.0.0.1", "1", "True");
    let concerned = BTreeSet::from([add()]);
    assert_eq!(take(&mut directory, Event::Apply(ready.clone())), concerned);
    check(&directory, &["10.0.0.1"]);
    assert_eq!(take(&mut directory, Event::Apply(ready.clone())), BTreeSet::new());
    let unready = pod("a", "10.0.0.1", "1", "False");
    assert_eq!(take(&mut directory, Event::Apply(unready)), concerned);
    check(&directory, &[]);
    take(&mut directory, Event::Apply(ready.clone()));
    assert_eq!(take(&mut directory, Event::Delete(ready.clone())), concerned);
    check(&directory, &[]);
    // It becomes a pod of another function.
    take(&mut directory, Event::Apply(ready.clone()));
    let mut moved = ready;
    let labels = moved.metadata.labels.as_mut().unwrap();
    labels.insert(Function::LABEL.to_owned(), "sub".to_owned());
    let both = BTreeSet::from([add(), ("default".to_owned(), "sub".to_owned())]);
    assert_eq!(take(&mut directory, Event::Apply(moved)), both);
    check(&directory, &[]);
}

#[test]
fn a_new_list_replaces_what_was_known_when_it_is_complete() {
    let mut directory = directory(&[pod("a", "10.0.0.1", "1", "True")]);
    take(&mut directory, Event::Init);
    take(&mut directory, Event::InitApply(pod("b", "10.0.0.2", "1", "True")));
    check(&directory, &["10.0.0.1"]);
    assert_eq!(take(&mut directory, Event::InitDone), BTreeSet::from([add()]));
    check(&directory, &["10.0.0.2"]);
    list(&mut directory, &[]);
    check(&directory, &[]);
    let gone = directory.function(Event::Delete(function("add", &json!({}), &json!({}))));
    assert_eq!(gone, BTreeSet::from([add()]));
    assert!(directory.settings(&add()).is_none());
}

#[test]
fn a_function_says_how_its_calls_go() {
    let of = |spec| settings(&function("f", &spec, &json!({})));
    let plain = of(json!({}));
    let python = Runtime::PYTHON.concurrency;
    assert_eq!((plain.timeout, plain.concurrency), (Duration::from_secs(60), python));
    let own = of(json!({"timeoutSeconds": 5, "containerConcurrency": 3}));
    assert_eq!((own.timeout, own.concurrency), (Duration::from_secs(5), NonZeroU32::new(3)));
    let unlimited = of(json!({"timeoutSeconds": 0, "containerConcurrency": 0}));
    assert_eq!(unlimited, plain);
    assert_eq!(of(json!({"runtime": "container", "image": "i"})).concurrency, None);
}

/// Another one is being built, has failed, or was rolled back.
#[test]
fn how_calls_go_is_what_the_version_that_serves_says() {
    let version = |number, runtime, concurrency, timeout| {
        json!({"version": number, "digest": "", "runtime": runtime,
            "containerConcurrency": concurrency, "timeoutSeconds": timeout})
    };
    let versions = [version(1, "container", 2, 7), version(2, "python", 0, 8)];
    let spec = json!({"runtime": "python", "containerConcurrency": 9, "timeoutSeconds": 9});
    let check = |serving: Option<i64>, concurrency, seconds| {
        let status = json!({"version": serving, "versions": versions});
        let settings = settings(&function("f", &spec, &status));
        assert_eq!(settings.concurrency, NonZeroU32::new(concurrency), "{serving:?}");
        assert_eq!(settings.timeout, Duration::from_secs(seconds), "{serving:?}");
    };
    check(Some(1), 2, 7);
    check(Some(2), 20, 8);
    check(None, 9, 9);
}

#[test]
fn why_there_is_no_instance_is_told_from_what_is_known() {
    let why = |status: &Value, pod_status: Option<Value>| {
        let mut directory = Directory::default();
        directory.function(Event::Init);
        directory.function(Event::InitApply(function("add", &json!({}), status)));
        directory.function(Event::InitDone);
        let pods = pod_status.map(|status| {
            let mut pod = pod("a", "", "1", "False");
            pod.status = serde_json::from_value(status).unwrap();
            pod
        });
        list(&mut directory, pods.as_slice());
        directory.why_not(&add())
    };
    let serves = json!({"version": 1});
    assert_eq!(why(&serves, None), None);
    let building = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Building",
        "message": "version 1 is being built", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    assert_eq!(why(&building, None).unwrap(), "version 1 is being built");
    let failed = json!({"versions": [{"version": 1, "digest": "", "phase": "Failed",
        "message": "no module named x"}]});
    assert_eq!(why(&failed, None).unwrap(), "version 1: no module named x");
    let unbound = json!({"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available"}]});
    assert_eq!(why(&serves, Some(unbound)).unwrap(), "Unschedulable: 0/1 nodes are available");
    let waiting = |reason, message| {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        json!({"containerStatuses": [{"name": "function", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": state}]})
    };
    let pull = waiting("ImagePullBackOff", Some("back-off"));
    assert_eq!(why(&serves, Some(pull)).unwrap(), "ImagePullBackOff: back-off");
    assert_eq!(why(&serves, Some(waiting("ContainerCreating", None))), None);
}

/// Not even while another instance fails: a container that is started anew may do better.
#[test]
fn a_first_version_is_hopeless_while_its_containers_fail_and_not_once_one_runs_again() {
    let unproven =
        json!({"version": 1, "versions": [{"version": 1, "digest": "", "phase": "Building"}]});
    let ended = json!({"terminated": {"exitCode": 1, "message": "no database"}});
    let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let mut directory = directory(&[]);
    directory.function(Event::Apply(function("add", &json!({}), &unproven)));
    let mut is_hopeless = |pod_name: &str, state: &Value, last: &Value| {
        let mut pod = pod(pod_name, "", "1", "False");
        let containers = json!([{"name": "function", "image": "", "imageID": "", "ready": false,
            "restartCount": 1, "state": state, "lastState": last}]);
        pod.status.as_mut().unwrap().container_statuses =
            serde_json::from_value(containers).unwrap();
        take(&mut directory, Event::Apply(pod));
        (directory.is_hopeless(&add()), directory.why_not(&add()))
    };
    let why = Some("no database".to_owned());
    assert_eq!(is_hopeless("a", &ended, &json!({})), (true, why.clone()));
    assert_eq!(is_hopeless("a", &running, &ended), (false, why.clone()));
    assert_eq!(is_hopeless("b", &ended, &json!({})), (false, why.clone()));
    assert_eq!(
        is_hopeless("a", &json!({"waiting": {"reason": "CrashLoopBackOff"}}), &ended),
        (true, why)
    );
}
