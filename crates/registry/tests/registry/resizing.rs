//! How much the containers of a pod may take, changed while it is there.

use api_machinery::ApiError;
use registry::Part;
use serde_json::{Value, json};

use crate::{context, create, def, example, try_create, update, update_part};

/// A pod with a container, a sidecar and an init container.
fn sized() -> Value {
    let pods = def("pods");
    let mut pod = example(&pods);
    let resources = json!({"requests": {"cpu": "20m", "memory": "32Mi", "example.com/x": "1"},
                           "limits": {"cpu": "1", "example.com/x": "1"}});
    pod["spec"] = json!({
        "containers": [{"name": "a", "image": "busybox:1", "resources": resources}],
        "initContainers": [
            {"name": "s", "image": "busybox:1", "restartPolicy": "Always", "resources": resources},
            {"name": "i", "image": "busybox:1", "resources": resources},
        ],
    });
    create(&pods, pod)
}

fn resize(old: &Value, change: impl FnOnce(&mut Value)) -> Result<Value, ApiError> {
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"not": "said"});
    new["status"]["phase"] = json!("Failed");
    change(&mut new["spec"]);
    update_part(&def("pods"), Part::Size, old, new)
}

/// With the container's amounts changed.
fn with(old: &Value, pointer: &str, value: Value) -> Result<Value, ApiError> {
    resize(old, |spec| set(spec, pointer, value))
}

fn set(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
}

fn fails(result: Result<Value, ApiError>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_subresource_changes_what_containers_take_and_nothing_else() {
    let old = sized();
    let new = resize(&old, |spec| {
        set(spec, "/containers/0/resources/requests/cpu", json!("30m"));
        set(spec, "/containers/0/resources/limits/memory", json!("64Mi"));
        set(spec, "/initContainers/0/resources/limits/cpu", json!("2"));
        spec["containers"][0]["image"] = json!("other:1");
        spec["nodeName"] = json!("elsewhere");
    });
    let new = new.unwrap();
    let mut expected = old.clone();
    set(&mut expected["spec"], "/containers/0/resources/requests/cpu", json!("30m"));
    set(&mut expected["spec"], "/containers/0/resources/limits/memory", json!("64Mi"));
    set(&mut expected["spec"], "/initContainers/0/resources/limits/cpu", json!("2"));
    assert_eq!((&new["spec"], &new["status"]), (&expected["spec"], &expected["status"]));
    assert_eq!(new["metadata"]["labels"], old["metadata"]["labels"]);
    assert_eq!(new["metadata"]["generation"], 2);
    let same = resize(&old, |_| ()).unwrap();
    assert_eq!(same["metadata"]["generation"], 1);
    let mut elsewhere = old.clone();
    set(&mut elsewhere["spec"], "/containers/0/resources/requests/cpu", json!("30m"));
    fails(update(&def("pods"), &old, elsewhere), "pod updates may not change fields other than");
}

#[test]
fn what_was_said_can_be_changed_and_not_taken_back() {
    let old = sized();
    let no_cpu = json!({"memory": "32Mi", "example.com/x": "1"});
    let path =
        "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed";
    fails(with(&old, "/containers/0/resources/requests", no_cpu), path);
    let path =
        "spec.initContainers[1].resources.limits: Forbidden: resource limits cannot be removed";
    fails(with(&old, "/initContainers/1/resources/limits", json!({"example.com/x": "1"})), path);
    let zero = "spec.containers[0].resources.limits[cpu]: Forbidden: resource limits cannot be removed: a limit of 0 is none";
    fails(with(&old, "/containers/0/resources/limits/cpu", json!("0")), zero);
    let beyond = "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1";
    fails(with(&old, "/containers/0/resources/requests/cpu", json!("2")), beyond);
}

#[test]
fn only_processors_and_memory_are_resized() {
    let old = sized();
    let forbidden = "spec: Forbidden: only cpu and memory resources are mutable";
    let storage = "/containers/0/resources/requests/ephemeral-storage";
    fails(with(&old, storage, json!("1Gi")), forbidden);
    fails(with(&old, "/containers/0/resources/claims", json!([{"name": "gpu"}])), forbidden);
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    fails(with(&old, "/containers/0/resizePolicy", policy.clone()), forbidden);
    let forbidden = "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable";
    fails(with(&old, "/initContainers/0/resizePolicy", policy), forbidden);
    let whole = "resize of pods with pod-level resources is forbidden";
    fails(with(&old, "/resources", json!({"requests": {"cpu": "2"}})), whole);
}

#[test]
fn containers_and_class_stay() {
    let old = sized();
    let two = |spec: &mut Value| {
        let more = json!({"name": "b", "image": "busybox:1"});
        spec["containers"].as_array_mut().unwrap().push(more);
    };
    let added = "spec.containers: Forbidden: containers may not be added or removed on resize";
    fails(resize(&old, two), added);
    let renamed = "spec.initContainers[0].name: Forbidden: initContainers may not be renamed or reordered on resize";
    let swap = |spec: &mut Value| spec["initContainers"].as_array_mut().unwrap().swap(0, 1);
    fails(resize(&old, swap), renamed);
    let pods = def("pods");
    let mut pod = example(&pods);
    pod["spec"] = json!({"containers": [{"name": "a", "image": "busybox:1"}]});
    let best_effort = create(&pods, pod);
    let class =
        "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing";
    let cpu = json!({"requests": {"cpu": "1"}});
    fails(with(&best_effort, "/containers/0/resources", cpu), class);
}

#[test]
fn a_node_that_does_not_resize_is_not_asked() {
    let running = |resources: Value| {
        let mut pod = sized();
        let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        pod["status"]["containerStatuses"] = json!([
            {"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state},
        ]);
        if !resources.is_null() {
            pod["status"]["containerStatuses"][0]["resources"] = resources;
        }
        with(&pod, "/containers/0/resources/requests/cpu", json!("30m"))
    };
    running(json!({})).unwrap();
    fails(running(Value::Null), "spec: Forbidden: Pod running on node without support for resize");
}

#[test]
fn static_pods_and_those_of_other_systems_stay_as_they_are() {
    let mut mirror = sized();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let cpu = "/containers/0/resources/requests/cpu";
    fails(with(&mirror, cpu, json!("30m")), "Forbidden: static pods cannot be resized");
    let mut windows = sized();
    windows["spec"]["os"] = json!({"name": "windows"});
    fails(with(&windows, cpu, json!("30m")), "Forbidden: windows pods cannot be resized");
}

#[test]
fn the_faults_of_policies_are_told() {
    let pods = def("pods");
    let check = |policy: &str, of_resize: Value, expected: &[&str]| {
        let mut pod = example(&pods);
        pod["spec"] = json!({"restartPolicy": policy, "containers": [
            {"name": "a", "image": "busybox:1", "resizePolicy": of_resize},
        ]});
        let result = try_create(&pods, pod, &context(&pods));
        match expected {
            [] => drop(result.unwrap()),
            all => all.iter().for_each(|expected| fails(result.clone(), expected)),
        }
    };
    let policy =
        |resource: &str, restart: &str| json!({"resourceName": resource, "restartPolicy": restart});
    let both = json!([policy("cpu", "NotRequired"), policy("memory", "RestartContainer")]);
    check("Always", both.clone(), &[]);
    let path = "spec.containers[0].resizePolicy";
    let never = format!(
        "{path}: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'"
    );
    check("Never", both, &[&never]);
    let disk =
        format!("{path}: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"");
    let later = format!(
        "{path}: Unsupported value: \"Later\": supported values: \"NotRequired\", \"RestartContainer\""
    );
    check("Always", json!([policy("disk", "Later")]), &[&disk, &later]);
    let twice = format!("{path}[1]: Duplicate value: \"cpu\"");
    check("Always", json!([policy("cpu", "NotRequired"), policy("cpu", "NotRequired")]), &[&twice]);
    check("Always", json!([policy("", "NotRequired")]), &[&format!("{path}: Required value")]);
}
