//! Workers against an API server in process, a runtime and a network in memory.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use api_types::{
    api::core::v1::{
        ConfigMap, ContainerStatus, EnvFromSource, Event as Recorded, Pod, PodStatus, Secret,
        SecretEnvSource,
    },
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use serde_json::{Value, json};
use testkit::{ControlPlane, pod, wait};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    fake_node::{IMAGE, Node},
    pleg,
    pod::manager::PodManager,
    runtime::{
        Container, PodIdentity, Runtime, State,
        fake::{ENDLESS_IMAGE, Fake, blank},
        labels,
    },
    spec,
};

fn ready_condition(status: &PodStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn sample(name: &str) -> Pod {
    pod(name).image(IMAGE).node("n1").build()
}

/// A pod with another spec.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Pod {
    let mut value = serde_json::to_value(sample(name)).unwrap();
    change(&mut value["spec"]);
    serde_json::from_value(value).unwrap()
}

/// A probe that runs a command.
fn probe(threshold: i32) -> Value {
    json!({"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": threshold})
}

async fn until_released(node: &Node, uid: &str) {
    let released = async || node.network.held(uid).map_or(Ok(()), Err);
    wait::until("the address is free", released).await;
}

fn runs(status: &PodStatus) -> bool {
    status.phase.as_deref() == Some("Running") && only(status).ready
}

fn only(status: &PodStatus) -> ContainerStatus {
    status.container_statuses.iter().flatten().next().cloned().unwrap_or_default()
}

fn waits_for(status: &PodStatus, reason: &str) -> bool {
    let state = only(status).state.and_then(|state| state.waiting);
    state.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
}

#[tokio::test]
async fn a_pod_runs_with_an_address_and_is_ready() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    let pod = node.until_status("web", "runs", runs).await;
    let status = pod.status.unwrap();
    assert_eq!(status.pod_ip, node.network.held(&uid).map(|held| held.v4.to_string()));
    assert_eq!(told(&status), ["10.244.1.2", "fd00:10:244:1::2"]);
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(node.runtime.calls(), ["sandbox 0", "start main"]);
}

fn told(status: &PodStatus) -> Vec<&str> {
    status.pod_ips.iter().flatten().map(|told| told.ip.as_str()).collect()
}

#[tokio::test]
async fn it_is_known_which_containers_run_while_they_do() {
    let node = Node::start().await;
    let limited = changed("web", |spec| {
        spec["containers"][0]["resources"] = json!({"limits": {"cpu": "500m"}});
    });
    let uid = node.create(&limited).await;
    node.until_status("web", "runs", runs).await;
    let running = node.context().running.all();
    let [pod] = &running[..] else { panic!("{running:?}") };
    assert_eq!((pod.pod.uid.as_str(), pod.host_network), (uid.as_str(), false));
    assert!(pod.sandbox.is_some());
    let names: Vec<&str> = pod.containers.iter().map(|found| found.name.as_str()).collect();
    assert_eq!((names, pod.containers[0].resources.cpu_quota), (vec!["main"], Some(50_000)));
    node.runtime.end("main", 1);
    let started_again = async || {
        let running = node.context().running.all();
        let attempts = running.iter().flat_map(|pod| &pod.containers).map(|found| found.attempt);
        let attempts: Vec<u32> = attempts.collect();
        if attempts == [1] { Ok(()) } else { Err(attempts) }
    };
    wait::until("the next container is known", started_again).await;
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
    let forgotten = async || {
        let running = node.context().running.all();
        if running.is_empty() { Ok(()) } else { Err(running) }
    };
    wait::until("the pod is forgotten", forgotten).await;
}

#[tokio::test]
async fn what_workers_do_is_counted() {
    let node = Node::start().await;
    let served = component::Metrics::default();
    node.context().metrics.register(&served, "n1");
    served.collect(node.context().running.clone());
    let nothing = served.encode().unwrap();
    for line in ["kubelet_running_pods 0", "kubelet_pod_start_duration_seconds_count 0"] {
        assert!(nothing.contains(line), "{line} in {nothing}");
    }
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    let text = served.encode().unwrap();
    for line in [
        "kubelet_running_pods 1\n",
        "kubelet_running_containers{container_state=\"running\"} 1\n",
        "kubelet_pod_start_duration_seconds_count 1\n",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"create\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("kubelet_pod_worker_duration_seconds_count{operation_type=\"sync\"} "));
    let relists = "kubelet_pleg_relist_duration_seconds_count ";
    let relists = text.lines().find_map(|line| line.strip_prefix(relists));
    assert!(relists.is_some_and(|count| count != "0"), "{text}");
}

#[tokio::test]
async fn a_network_may_choose_the_address_when_it_connects_the_pod() {
    let node = Node::start().await;
    node.network.choose_late();
    let uid = node.create(&sample("web")).await;
    let status = node.until_status("web", "runs", runs).await.status.unwrap();
    let held = node.network.held(&uid).map(|held| held.v4.to_string());
    assert!(status.pod_ip.is_some() && status.pod_ip == held, "{:?} {held:?}", status.pod_ip);
}

#[tokio::test]
async fn a_pod_waits_for_the_network_without_complaint() {
    let node = Node::start().await;
    node.network.set_up(false);
    node.create(&sample("web")).await;
    let waits = |status: &PodStatus| waits_for(status, "ContainerCreating");
    node.until_status("web", "waits", waits).await;
    node.network.set_up(true);
    node.until_status("web", "runs", runs).await;
    let reasons = async || {
        let events = events_of(&node).list(&ListParams::default()).await.unwrap().items;
        events.into_iter().filter_map(|event| event.reason).collect::<Vec<_>>()
    };
    let started = async || {
        let reasons = reasons().await;
        if reasons.contains(&"Started".to_owned()) { Ok(()) } else { Err(reasons) }
    };
    wait::until("the start is told", started).await;
    assert!(!reasons().await.contains(&"FailedCreatePodSandBox".to_owned()));
}

#[tokio::test]
async fn what_the_node_controller_said_of_a_silent_node_is_taken_back() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    let silent = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let parameters = PatchParams::default();
    let marked = node.api.patch_status("web", &parameters, &Patch::Strategic(silent)).await;
    assert!(!ready_condition(&marked.unwrap().status.unwrap()));
    node.until_status("web", "is ready again", ready_condition).await;
}

#[tokio::test]
async fn a_container_that_dies_is_restarted_at_once_and_then_waits() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.runtime.end("main", 1);
    let restarted = |status: &PodStatus| runs(status) && only(status).restart_count == 1;
    node.until_status("web", "was restarted", restarted).await;
    node.runtime.end("main", 1);
    let waits = |status: &PodStatus| waits_for(status, "CrashLoopBackOff");
    let pod = node.until_status("web", "backs off", waits).await;
    let last = only(&pod.status.unwrap()).last_state.unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 1);
}

#[tokio::test]
async fn a_pod_that_is_done_succeeds_and_gives_up_its_sandbox() {
    let node = Node::start().await;
    let job = pod("job").image(IMAGE).node("n1").with(|pod| {
        pod.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
    });
    let uid = node.create(&job.build()).await;
    node.until_status("job", "runs", runs).await;
    node.runtime.end("main", 0);
    let succeeded = |status: &PodStatus| status.phase.as_deref() == Some("Succeeded");
    node.until_status("job", "succeeds", succeeded).await;
    node.until_called("remove POD").await;
    until_released(&node, &uid).await;
    assert!(!node.runtime.calls().contains(&"remove main".to_owned()), "its logs are gone");
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_shows_why() {
    let node = Node::start().await;
    node.create(&pod("web").image("example.org/none:1").node("n1").build()).await;
    let failed = |status: &PodStatus| waits_for(status, "ErrImagePull");
    let pod = node.until_status("web", "cannot be pulled", failed).await;
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    let backs_off = |status: &PodStatus| waits_for(status, "ImagePullBackOff");
    node.until_status("web", "backs off", backs_off).await;
    node.runtime.publish("example.org/none:1");
    node.until_status("web", "runs once the image is there", runs).await;
}

#[tokio::test]
async fn it_is_told_when_an_image_was_pulled_and_of_one_that_was_there_nothing() {
    let node = Node::start().await;
    node.runtime.publish("example.org/late:1");
    node.runtime.hold("main", true);
    node.create(&pod("late").image("example.org/late:1").node("n1").build()).await;
    let pulled = |status: &PodStatus| {
        waits_for(status, "ContainerCreating") && only(status).image_id == "sha256:0"
    };
    node.until_status("late", "has its image", pulled).await;
    node.runtime.hold("first", true);
    let two = changed("web", |spec| {
        let first = json!({"name": "first", "image": IMAGE});
        spec["containers"].as_array_mut().unwrap().insert(0, first);
    });
    let uid = node.create(&two).await;
    let both_are_made = async || {
        let containers = node.runtime.list(Some(&uid)).await.unwrap();
        let made = containers.iter().filter(|c| ["first", "main"].contains(&&*c.name)).count();
        if made == 2 { Ok(()) } else { Err(containers) }
    };
    wait::until("the containers are made", both_are_made).await;
    node.runtime.hold("first", false);
    let first_runs = |status: &PodStatus| only(status).ready;
    let web = node.until_status("web", "has started the first", first_runs).await;
    let ids = web.status.unwrap().container_statuses.unwrap().into_iter().map(|c| c.image_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["sha256:0", ""]);
    node.runtime.hold("main", false);
    node.until_status("late", "runs", runs).await;
    node.until_status("web", "runs", runs).await;
}

/// The runtime was asked for what there is to do, the removals side by side.
fn assert_was_ended(node: &Node) {
    let mut calls = node.runtime.calls();
    calls.get_mut(4..).unwrap_or_default().sort_unstable();
    let expected =
        ["sandbox 0", "start main", "SIGTERM main", "SIGKILL main", "remove POD", "remove main"];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_deleted_pod_is_stopped_killed_and_then_gone_with_all_it_held() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
    assert_was_ended(&node);
    assert_eq!(node.network.held(&uid), None);
    let empty = async || if node.pods.count() == 0 { Ok(()) } else { Err(node.pods.count()) };
    wait::until("the worker ends", empty).await;
}

#[tokio::test]
async fn a_pod_deleted_by_force_is_not_given_the_time_that_its_spec_names() {
    let node = Node::start().await;
    node.create(&changed("web", |spec| spec["terminationGracePeriodSeconds"] = json!(3600))).await;
    node.until_status("web", "runs", runs).await;
    node.api.delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    node.until_called("remove POD").await;
    node.until_called("remove main").await;
    assert_was_ended(&node);
}

#[tokio::test]
async fn a_pod_deleted_by_force_while_it_stops_is_given_no_more_time() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.api.delete("web", &DeleteParams::default().grace_period(3600)).await.unwrap();
    node.until_called("SIGTERM main").await;
    node.api.delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    node.until_called("SIGKILL main").await;
}

/// A pod that needs a ConfigMap for its environment and one for a volume.
async fn configured(node: &Node, name: &str) -> Pod {
    let maps: Api<ConfigMap> = Api::default_namespaced(node.control_plane.client());
    for map in ["env", "files"] {
        let map = json!({"metadata": {"name": map}, "data": {"KEY": "value"}});
        let map = serde_json::from_value(map).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    changed(name, |spec| {
        spec["volumes"] = json!([{"name": "v", "configMap": {"name": "files"}}]);
        let container = &mut spec["containers"][0];
        container["envFrom"] = json!([{"configMapRef": {"name": "env"}}]);
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/files"}]);
    })
}

#[tokio::test]
async fn restarts_go_on_while_the_api_server_is_away_and_are_reported_later() {
    let node = Node::start().await;
    let secrets: Api<Secret> = Api::default_namespaced(node.control_plane.client());
    let secret = json!({"metadata": {"name": "login"}, "stringData": {"PASSWORD": "hidden"}});
    let secret = serde_json::from_value(secret).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let mut web = configured(&node, "web").await;
    let from = EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: "login".to_owned(), optional: None }),
        ..EnvFromSource::default()
    };
    let container = &mut web.spec.as_mut().unwrap().containers[0];
    container.env_from.get_or_insert_default().push(from);
    node.create(&web).await;
    node.until_status("web", "runs", runs).await;
    node.control_plane.stop_server().await;
    node.runtime.end("main", 1);
    let twice = ["sandbox 0", "start main", "start main"];
    let started =
        async || if node.runtime.calls() == twice { Ok(()) } else { Err(node.runtime.calls()) };
    wait::until("the container is restarted", started).await;
    let specs = node.runtime.specs();
    assert_eq!(specs.len(), 2);
    for known in ["KEY=value", "PASSWORD=hidden", "KUBERNETES_SERVICE_PORT=443"] {
        let told = specs.iter().all(|spec| spec.env.iter().any(|variable| variable == known));
        assert!(told, "{known} is missing: {specs:?}");
    }
    node.control_plane.start_server().await;
    let restarted = |status: &PodStatus| runs(status) && only(status).restart_count == 1;
    node.until_status("web", "reports the restart", restarted).await;
}

#[tokio::test]
async fn what_a_pod_has_used_is_not_watched_once_it_is_done() {
    let node = Node::start().await;
    let mut job = configured(&node, "job").await;
    job.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
    node.create(&job).await;
    node.until_status("job", "runs", runs).await;
    assert_eq!(node.context().objects.watched(), 2);
    node.runtime.end("main", 0);
    let released = async || match node.context().objects.watched() {
        0 => Ok(()),
        watched => Err(watched),
    };
    wait::until("nothing is watched", released).await;
}

#[tokio::test]
async fn what_is_left_of_an_unknown_pod_is_removed_but_only_after_the_first_list() {
    let node = Node::start().await;
    let left = PodIdentity { uid: "old".into(), namespace: "default".into(), name: "old".into() };
    let fresh = PodManager::new(node.context());
    fresh.adopt_orphan(&left);
    assert_eq!(fresh.count(), 0, "nothing is known yet about which pods exist");
    fresh.handle(Event::Init);
    fresh.handle(Event::InitDone);
    fresh.adopt_orphan(&left);
    assert_eq!(fresh.count(), 1);
    let empty = async || if fresh.count() == 0 { Ok(()) } else { Err(fresh.count()) };
    wait::until("the orphan is gone", empty).await;
}

#[tokio::test]
async fn what_is_left_is_looked_for_as_soon_as_the_pods_are_listed() {
    let node = Node::deaf(ControlPlane::start().await, Fake::with_images(&[IMAGE]));
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    let fresh = PodManager::new(node.context());
    let stop = CancellationToken::new();
    let pleg = pleg::run(node.context(), fresh.clone(), stop.clone());
    let _pleg = AbortOnDropHandle::new(tokio::spawn(pleg));
    let looked = || node.runtime.summaries();
    let once = async || if looked() > 0 { Ok(()) } else { Err("not yet") };
    wait::until("the containers are listed", once).await;
    assert_eq!(fresh.count(), 0, "nothing is known yet about which pods exist");
    fresh.handle(Event::Init);
    fresh.handle(Event::InitDone);
    // Well before the next look of its own.
    let found = async || if fresh.count() == 1 { Ok(()) } else { Err(fresh.count()) };
    let found = wait::until("the orphan is found", found);
    tokio::time::timeout(Duration::from_secs(5), found).await.unwrap();
}

#[tokio::test]
async fn pods_missing_from_a_new_list_are_stopped() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.pods.handle(Event::Init);
    node.pods.handle(Event::InitDone);
    node.until_called("SIGTERM main").await;
}

#[tokio::test]
async fn a_kubelet_that_restarts_takes_over_what_probes_had_found() {
    let plane = ControlPlane::start().await;
    let api: Api<Pod> = Api::default_namespaced(plane.client());
    let pod = changed("web", |spec| {
        let container = &mut spec["containers"][0];
        container["startupProbe"] = probe(1);
        container["readinessProbe"] = probe(1_000_000);
        container["readinessProbe"]["initialDelaySeconds"] = json!(3600);
    });
    let pod = api.create(&PostParams::default(), &pod).await.unwrap();
    let runtime = Fake::with_images(&[IMAGE]);
    runtime.answer("main", 1);
    let id = left_running(&runtime, &pod);
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "main", "image": IMAGE, "imageID": "", "restartCount": 0,
        "containerID": format!("docker://{id}"), "ready": true, "started": true}]}});
    let parameters = PatchParams::default();
    api.patch_status("web", &parameters, &Patch::Merge(status)).await.unwrap();

    let node = Node::on(plane, runtime);
    // A container that runs for two hours has had its initial delay, and the readiness probe follows
    // only on a startup that has passed: commands are run although nothing is started anew.
    let probed = async || if node.runtime.execs("main") >= 3 { Ok(()) } else { Err("not yet") };
    wait::until("it is probed", probed).await;
    let reported = |status: &PodStatus| status.host_ip.is_some();
    let pod = node.until_status("web", "is reported", reported).await;
    let status = pod.status.unwrap();
    assert!(ready_condition(&status), "it left its services");
    assert_eq!(told(&status), ["10.244.1.9"], "its sandbox was made without IPv6");
    assert_eq!(node.runtime.calls(), Vec::<String>::new());
}

/// The sandbox and the container of a pod as a kubelet left them two hours ago; gives the container's id.
fn left_running(runtime: &Fake, pod: &Pod) -> String {
    let started_at = Timestamp::now() - Duration::from_secs(7200);
    let made = |name: &str| Container {
        pod: spec::identity(pod),
        state: State::Running { started_at },
        ..blank(name)
    };
    let addresses = Some(Ipv4Addr::new(10, 244, 1, 9).into());
    let sandbox = runtime.adopt(Container { addresses, ..made(labels::SANDBOX_NAME) });
    let hash = spec::hash(&spec::container(pod, "main").unwrap());
    runtime.adopt(Container { sandbox_id: sandbox, hash, ..made("main") })
}

#[tokio::test]
async fn a_container_that_recovers_while_it_is_stopped_is_killed_all_the_same() {
    let node = Node::start().await;
    let pod = changed("web", |spec| {
        spec["terminationGracePeriodSeconds"] = json!(3600);
        spec["containers"][0]["livenessProbe"] = probe(1);
        spec["containers"][0]["livenessProbe"]["terminationGracePeriodSeconds"] = json!(2);
    });
    node.create(&pod).await;
    node.until_status("web", "runs", runs).await;
    node.runtime.answer("main", 1);
    node.until_called("SIGTERM main").await;
    node.runtime.answer("main", 0);
    node.until_called("SIGKILL main").await;
}

#[tokio::test]
async fn readiness_gates_are_kept_and_counted() {
    let node = Node::start().await;
    let gated = changed("web", |spec| {
        spec["readinessGates"] = json!([{"conditionType": "example.com/gate"}]);
    });
    node.create(&gated).await;
    node.until_status("web", "runs", |status| runs(status) && !ready_condition(status)).await;
    let gate = |status: &str| json!({"status": {"conditions": [{"type": "example.com/gate", "status": status}]}});
    let parameters = PatchParams::default();
    for (status, ready) in [("True", true), ("False", false)] {
        let patch = Patch::Strategic(gate(status));
        node.api.patch_status("web", &parameters, &patch).await.unwrap();
        let settled = |pod: &PodStatus| {
            let mut gates = pod.conditions.iter().flatten();
            let kept = gates.any(|c| c.type_ == "example.com/gate" && c.status == status);
            kept && ready_condition(pod) == ready
        };
        node.until_status("web", "follows its gate", settled).await;
    }
}

#[tokio::test]
async fn a_deleted_pod_reports_how_it_ended_before_it_is_gone() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let node = Node::start().await;
        let mut pod = sample("web");
        pod.metadata.finalizers = Some(vec!["example.com/witness".to_owned()]);
        node.create(&pod).await;
        node.until_status("web", "runs", runs).await;
        node.api.delete("web", &DeleteParams::default()).await.unwrap();
        node.until_called("SIGTERM main").await;
        node.runtime.end("main", code);
        let ended = |status: &PodStatus| status.phase.as_deref() == Some(phase);
        let pod = node.until_status("web", "has ended", ended).await;
        let state = only(&pod.status.unwrap()).state.unwrap();
        assert_eq!(state.terminated.unwrap().exit_code, code);
        node.until_called("remove main").await;
    }
}

/// The reason and message of a pod that fails.
async fn failure(node: &Node, pod: &Pod) -> (String, String) {
    node.create(pod).await;
    let failed = |status: &PodStatus| status.phase.as_deref() == Some("Failed");
    let name = pod.metadata.name.as_deref().unwrap();
    let status = node.until_status(name, "fails", failed).await.status.unwrap();
    (status.reason.unwrap(), status.message.unwrap())
}

#[tokio::test]
async fn a_pod_that_does_not_fit_is_rejected_and_nothing_of_it_is_made() {
    let node = Node::start().await;
    let misled = changed("a", |spec| spec["nodeSelector"] = json!({"disk": "hdd"}));
    let why = "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node \
        affinity/selector";
    assert_eq!(failure(&node, &misled).await, ("NodeAffinity".to_owned(), why.to_owned()));
    let large = changed("b", |spec| {
        spec["containers"][0]["resources"] = json!({"requests": {"cpu": "5"}});
    });
    let why = "Pod was rejected: Node didn't have enough resource: cpu, requested: 5000, used: 0, \
        capacity: 4000";
    assert_eq!(failure(&node, &large).await, ("OutOfcpu".to_owned(), why.to_owned()));
    assert_eq!(node.runtime.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_port_of_the_host_is_free_again_when_its_pod_is_gone() {
    let node = Node::start().await;
    let with_port = |name: &str| {
        changed(name, |spec| {
            let port = json!([{"containerPort": 80, "hostPort": 8080}]);
            spec["containers"][0]["ports"] = port;
        })
    };
    node.create(&with_port("a")).await;
    node.until_status("a", "runs", runs).await;
    assert_eq!(failure(&node, &with_port("b")).await.0, "NodePorts");
    node.api.delete("a", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "a").await;
    node.create(&with_port("c")).await;
    node.until_status("c", "runs", runs).await;
}

#[tokio::test]
async fn a_pod_that_has_begun_is_not_asked_again_whether_it_fits() {
    let plane = ControlPlane::start().await;
    let api: Api<Pod> = Api::default_namespaced(plane.client());
    let misled = changed("web", |spec| spec["nodeSelector"] = json!({"disk": "hdd"}));
    let pod = api.create(&PostParams::default(), &misled).await.unwrap();
    let runtime = Fake::with_images(&[IMAGE]);
    left_running(&runtime, &pod);
    let node = Node::on(plane, runtime);
    node.until_status("web", "runs", runs).await;
}

#[tokio::test]
async fn a_container_that_cannot_be_removed_is_not_removed_all_the_time() {
    let node = Node::start().await;
    node.runtime.stick("main");
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    let removals = async |wanted: usize| {
        let calls = || node.runtime.calls().iter().filter(|c| *c == "remove main").count();
        let enough = async || if calls() >= wanted { Ok(()) } else { Err(calls()) };
        wait::until("it is removed again", enough).await;
    };
    removals(1).await;
    let first = Instant::now();
    // The sandbox's removal changes the world once.
    removals(4).await;
    assert!(first.elapsed() >= Duration::from_secs(3), "tried again after {:?}", first.elapsed());
}

#[tokio::test]
async fn a_pod_that_is_active_for_too_long_fails() {
    let node = Node::start().await;
    let pod = changed("job", |spec| {
        spec["activeDeadlineSeconds"] = json!(2);
        spec["terminationGracePeriodSeconds"] = json!(1);
    });
    let uid = node.create(&pod).await;
    let failed = |status: &PodStatus| status.phase.as_deref() == Some("Failed");
    let pod = node.until_status("job", "fails", failed).await;
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(only(&status).state.unwrap().terminated.unwrap().exit_code, 137);
    until_released(&node, &uid).await;
}

#[tokio::test]
async fn what_a_container_says_at_its_end_is_reported() {
    let node = Node::start().await;
    let with = |name: &str, field: &str, value: &str| {
        changed(name, |spec| {
            spec["restartPolicy"] = json!("Never");
            spec["containers"][0][field] = json!(value);
        })
    };
    let message = |pod: Pod| only(&pod.status.unwrap()).state.unwrap().terminated.unwrap().message;
    let failed = |status: &PodStatus| status.phase.as_deref() == Some("Failed");

    for (name, field, value, path) in [
        ("a", "terminationMessagePolicy", "File", "/dev/termination-log"),
        ("c", "terminationMessagePath", "/last/words", "/last/words"),
    ] {
        node.create(&with(name, field, value)).await;
        node.until_status(name, "runs", runs).await;
        node.runtime.write("main", path, "out of ideas");
        node.runtime.end("main", 1);
        let pod = node.until_status(name, "fails", failed).await;
        assert_eq!(message(pod).as_deref(), Some("out of ideas"));
    }

    node.runtime.print("panic: no more ideas");
    node.create(&with("b", "terminationMessagePolicy", "FallbackToLogsOnError")).await;
    node.until_status("b", "runs", runs).await;
    node.runtime.end("main", 1);
    let pod = node.until_status("b", "fails", failed).await;
    assert_eq!(message(pod).as_deref(), Some("panic: no more ideas"));
}

#[tokio::test]
async fn a_sandbox_that_is_slow_to_go_leaves_its_successor_connected() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.runtime.stick(labels::SANDBOX_NAME);
    node.runtime.end(labels::SANDBOX_NAME, 137);
    let removed_again = async || {
        let calls = node.runtime.calls();
        let renewed = calls.iter().skip_while(|call| *call != "sandbox 1");
        let again = renewed.filter(|call| *call == "remove POD").count() > 0;
        if again { Ok(()) } else { Err(calls) }
    };
    wait::until("the dead sandbox is removed once more", removed_again).await;
    assert!(node.network.is_attached(&uid));
}

#[tokio::test]
async fn what_a_pod_had_is_free_when_its_end_is_known() {
    let node = Node::start().await;
    // Its sandbox stays, and with it the address.
    node.runtime.stick(labels::SANDBOX_NAME);
    let whole_node = |name: &str| {
        changed(name, |spec| {
            spec["restartPolicy"] = json!("Never");
            spec["containers"][0]["resources"] = json!({"requests": {"cpu": "4"}});
        })
    };
    node.create(&whole_node("a")).await;
    node.until_status("a", "runs", runs).await;
    node.runtime.end("main", 0);
    let succeeded = |status: &PodStatus| status.phase.as_deref() == Some("Succeeded");
    node.until_status("a", "succeeds", succeeded).await;
    let decided = |status: &PodStatus| runs(status) || status.phase.as_deref() == Some("Failed");
    let check = async |name: &str| {
        node.create(&whole_node(name)).await;
        let status = node.until_status(name, "is admitted or not", decided).await.status.unwrap();
        assert_eq!((status.phase.as_deref(), status.reason), (Some("Running"), None), "{name}");
    };
    check("b").await;
    node.api.delete("b", &DeleteParams::default().grace_period(1)).await.unwrap();
    let failed = |status: &PodStatus| status.phase.as_deref() == Some("Failed");
    node.until_status("b", "has stopped", failed).await;
    check("c").await;
}

#[tokio::test]
async fn a_pull_ends_with_its_pods_time() {
    let node = Node::start().await;
    let pod = changed("job", |spec| {
        spec["activeDeadlineSeconds"] = json!(1);
        spec["containers"][0]["image"] = json!(ENDLESS_IMAGE);
    });
    node.create(&pod).await;
    let failed = |status: &PodStatus| status.phase.as_deref() == Some("Failed");
    let pod = node.until_status("job", "fails", failed).await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}

#[tokio::test]
async fn a_worker_that_panics_is_followed_by_another() {
    let node = Node::start().await;
    node.runtime.panic("list");
    node.create(&sample("web")).await;
    node.until_status("web", "runs all the same", runs).await;
    assert_eq!(node.context().metrics.lost_tasks("pod_worker").get(), 1);
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
}

#[tokio::test]
async fn a_probe_that_panics_goes_on() {
    let node = Node::start().await;
    node.runtime.panic("exec");
    let pod = changed("web", |spec| spec["containers"][0]["readinessProbe"] = probe(1));
    node.create(&pod).await;
    node.until_status("web", "is ready", ready_condition).await;
    assert_eq!(node.context().metrics.lost_tasks("probe").get(), 1);
}

/// A pod whose container `slow`, with that image, comes after `main`, which has a readiness probe.
fn with_slow(name: &str, image: &str) -> Pod {
    changed(name, |spec| {
        let mut main = spec["containers"][0].clone();
        main["readinessProbe"] = probe(1);
        spec["containers"] = json!([main, {"name": "slow", "image": image}]);
    })
}

fn main_is_ready(status: &PodStatus) -> bool {
    status.container_statuses.iter().flatten().any(|c| c.name == "main" && c.ready)
}

#[tokio::test]
async fn a_slow_start_holds_up_neither_what_runs_nor_the_pods_end() {
    let node = Node::start().await;
    node.runtime.hold("slow", true);
    for (name, image) in [("pulls", ENDLESS_IMAGE), ("starts", IMAGE)] {
        node.create(&with_slow(name, image)).await;
        node.until_status(name, "has a container that is ready", main_is_ready).await;
        let restarted = |status: &PodStatus| {
            let mut all = status.container_statuses.iter().flatten();
            all.any(|c| c.name == "main" && c.restart_count == 1 && c.ready)
        };
        node.runtime.end("main", 1);
        node.until_status(name, "has restarted it", restarted).await;
        node.api.delete(name, &DeleteParams::default().grace_period(1)).await.unwrap();
        let killed = || node.runtime.calls().iter().filter(|c| *c == "SIGKILL main").count();
        let wanted = if name == "pulls" { 1 } else { 2 };
        let stopped = async || if killed() == wanted { Ok(()) } else { Err(node.runtime.calls()) };
        wait::until("the others are stopped", stopped).await;
        if name == "starts" {
            assert!(
                !node.runtime.calls().contains(&"remove slow".to_owned()),
                "it is being started"
            );
            node.runtime.hold("slow", false);
        }
        wait::until_gone(&node.api, name).await;
    }
    assert_eq!(node.runtime.list(None).await.unwrap(), []);
}

fn events_of(node: &Node) -> Api<Recorded> {
    Api::default_namespaced(node.control_plane.client())
}

/// Waits until the pod has an event for this reason about that container.
async fn until_told(node: &Node, reason: &str, container: &str) {
    let about = format!("spec.containers{{{container}}}");
    let told = async || {
        let events = events_of(node).list(&ListParams::default()).await.unwrap().items;
        let found = events.iter().any(|event| {
            event.reason.as_deref() == Some(reason)
                && event.involved_object.field_path.as_ref() == Some(&about)
        });
        if found { Ok(()) } else { Err(events) }
    };
    wait::until(&format!("{reason} is told of {container}"), told).await;
}

#[tokio::test]
async fn containers_start_in_the_order_of_the_spec_whatever_holds_up_one() {
    let node = Node::start().await;
    node.runtime.hold("slow", true);
    let pod = changed("web", |spec| {
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        let none = "example.org/none:1";
        spec["containers"] =
            json!([container("slow", IMAGE), container("none", none), container("main", IMAGE)]);
    });
    node.create(&pod).await;
    until_told(&node, "Pulled", "main").await;
    until_told(&node, "Failed", "none").await;
    let starts = || {
        let calls = node.runtime.calls();
        calls.into_iter().filter(|call| call.starts_with("start")).collect::<Vec<_>>()
    };
    assert_eq!(starts(), ["start slow"]);
    node.runtime.hold("slow", false);
    node.until_called("start main").await;
    assert_eq!(starts(), ["start slow", "start main"]);
}

#[tokio::test]
async fn containers_are_made_while_their_sandbox_starts_and_start_after_it() {
    let node = Node::start().await;
    node.runtime.hold("POD", true);
    let ip = json!({"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
    let pod = changed("web", |spec| spec["containers"][0]["env"] = json!([ip]));
    let uid = node.create(&pod).await;
    let made = async || node.runtime.specs().pop().ok_or_else(|| node.runtime.calls());
    let made = wait::until("the container is made", made).await;
    let address = node.network.held(&uid).unwrap().v4;
    assert!(made.env.contains(&format!("IP={address}")), "{:?}", made.env);
    assert_eq!(node.runtime.calls(), ["sandbox 0"]);
    node.runtime.hold("POD", false);
    node.until_status("web", "runs", runs).await;
    assert_eq!(node.runtime.calls(), ["sandbox 0", "start main"]);
}

#[tokio::test]
async fn containers_of_a_sandbox_that_cannot_start_are_made_for_the_next() {
    let node = Node::start().await;
    node.runtime.set_broken("POD", true);
    node.create(&sample("web")).await;
    node.until_called("remove POD").await;
    node.runtime.set_broken("POD", false);
    node.until_status("web", "runs", runs).await;
    let running = node.runtime.list(None).await.unwrap();
    let sandbox = running.iter().find(|c| c.is_sandbox()).unwrap();
    assert!(running.iter().all(|c| c.is_sandbox() || c.sandbox_id == sandbox.id), "{running:?}");
}

#[tokio::test]
async fn a_pod_that_starts_is_listed_once() {
    let node = Node::deaf(ControlPlane::start().await, Fake::with_images(&[IMAGE]));
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    assert_eq!(node.runtime.lists(), 1);
}

/// A pod whose container `main` has that hook, a command, and that has another container after it.
fn with_hook(hook: &str) -> Pod {
    changed("web", |spec| {
        let mut main = spec["containers"][0].clone();
        main["lifecycle"] = json!({hook: {"exec": {"command": ["true"]}}});
        spec["containers"] = json!([main, {"name": "next", "image": IMAGE}]);
    })
}

async fn until_hooked(node: &Node) {
    let run = async || match node.runtime.execs("main") {
        1 => Ok(()),
        runs => Err(runs),
    };
    wait::until("the hook runs", run).await;
}

#[tokio::test]
async fn a_container_runs_and_the_next_starts_once_its_post_start_hook_is_through() {
    let node = Node::start().await;
    node.runtime.hold("exec main", true);
    let uid = node.create(&with_hook("postStart")).await;
    until_hooked(&node).await;
    node.pods.wake(&uid);
    let connected = |status: &PodStatus| status.pod_ip.is_some();
    let status = node.until_status("web", "is connected", connected).await.status.unwrap();
    assert!(waits_for(&status, "ContainerCreating"), "{:?}", only(&status));
    assert!(!node.runtime.calls().contains(&"start next".to_owned()));
    node.runtime.hold("exec main", false);
    node.until_called("start next").await;
    node.until_status("web", "runs", runs).await;
}

#[tokio::test]
async fn a_container_whose_post_start_hook_fails_is_stopped_and_waits_for_another_try() {
    let node = Node::start().await;
    node.runtime.answer("main", 1);
    node.create(&with_hook("postStart")).await;
    until_told(&node, "FailedPostStartHook", "main").await;
    node.until_called("SIGTERM main").await;
    node.runtime.hold("exec main", true);
    node.runtime.end("main", 143);
    let waits = |status: &PodStatus| waits_for(status, "PostStartHookError");
    let status = node.until_status("web", "says so", waits).await.status.unwrap();
    let main = status.container_statuses.iter().flatten().find(|c| c.name == "main").unwrap();
    let message = main.state.as_ref().unwrap().waiting.as_ref().unwrap().message.as_ref().unwrap();
    assert!(
        message.starts_with(
            "Exec lifecycle hook ([true]) for Container \"main\" in Pod \"web_default("
        )
    );
    let wanted = "failed - error: command 'true' exited with 1: , message: \"true\"";
    assert!(message.ends_with(wanted), "{message}");
    let ended = main.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(ended.exit_code, 143);
}

#[tokio::test]
async fn a_container_is_asked_to_stop_after_its_pre_stop_hook() {
    let node = Node::start().await;
    node.create(&with_hook("preStop")).await;
    node.until_status("web", "is ready", ready_condition).await;
    node.runtime.hold("exec main", true);
    node.runtime.answer("main", 1);
    node.api.delete("web", &DeleteParams::default()).await.unwrap();
    until_hooked(&node).await;
    node.until_called("SIGTERM next").await;
    assert!(!node.runtime.calls().contains(&"SIGTERM main".to_owned()));
    node.runtime.hold("exec main", false);
    node.until_called("SIGTERM main").await;
    until_told(&node, "FailedPreStopHook", "main").await;
}

#[tokio::test]
async fn a_pre_stop_hook_that_never_ends_has_the_time_of_its_pod() {
    let node = Node::start().await;
    node.create(&with_hook("preStop")).await;
    node.until_status("web", "is ready", ready_condition).await;
    node.runtime.hold("exec main", true);
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
    let calls = node.runtime.calls();
    let at = |call: &str| calls.iter().position(|made| made == call);
    assert!(at("SIGTERM main").is_some() && at("SIGTERM main") < at("SIGKILL main"), "{calls:?}");
}

#[tokio::test]
async fn a_container_that_an_earlier_kubelet_made_late_is_seen_at_the_next_sign_and_goes_with_the_pod()
 {
    let node = Node::deaf(ControlPlane::start().await, Fake::with_images(&[IMAGE]));
    let uid = node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    let containers = node.runtime.list(None).await.unwrap();
    let main = containers.into_iter().find(|container| container.name == "main").unwrap();
    node.runtime.adopt(Container { attempt: 1, ..main.clone() });
    node.pods.wake(&uid);
    node.until_status("web", "shows it", |status| only(status).restart_count == 1).await;
    node.runtime.adopt(Container { pod: main.pod, ..blank("late") });
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
    assert!(node.runtime.calls().contains(&"remove late".to_owned()), "{:?}", node.runtime.calls());
}

#[tokio::test]
async fn a_pull_ends_when_the_pod_wants_another_image() {
    let node = Node::start().await;
    node.create(&changed("web", |spec| spec["containers"][0]["image"] = json!(ENDLESS_IMAGE)))
        .await;
    until_told(&node, "Pulling", "main").await;
    let corrected = json!({"spec": {"containers": [{"name": "main", "image": IMAGE}]}});
    node.api.patch("web", &PatchParams::default(), &Patch::Strategic(corrected)).await.unwrap();
    node.until_status("web", "runs", runs).await;
}

#[tokio::test]
async fn a_start_that_panics_is_tried_again_and_no_other_is() {
    let node = Node::start().await;
    node.runtime.panic("image");
    node.create(&with_slow("web", IMAGE)).await;
    node.until_status("web", "has a container that is ready", main_is_ready).await;
    node.until_called("start slow").await;
    let calls = node.runtime.calls();
    let starts = |name| calls.iter().filter(|call| **call == format!("start {name}")).count();
    assert_eq!([starts("main"), starts("slow")], [1, 1], "{calls:?}");
    assert_eq!(node.context().metrics.lost_tasks("pod_worker").get(), 0);
}

#[tokio::test]
async fn a_pull_for_a_sandbox_that_could_not_be_made_does_not_hold_up_the_pods_end() {
    let node = Node::start().await;
    node.runtime.set_broken("sandbox", true);
    node.create(&changed("web", |spec| spec["containers"][0]["image"] = json!(ENDLESS_IMAGE)))
        .await;
    until_told(&node, "Pulling", "main").await;
    let told = async || {
        let events = events_of(&node).list(&ListParams::default()).await.unwrap().items;
        let reason = Some("FailedCreatePodSandBox");
        if events.iter().any(|e| e.reason.as_deref() == reason) { Ok(()) } else { Err(events) }
    };
    wait::until("the failure is told", told).await;
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
}

#[tokio::test]
async fn files_of_a_config_map_change_with_it_while_the_pod_runs() {
    let node = Node::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(node.control_plane.client());
    let map = |value: &str| {
        serde_json::from_value(json!({"metadata": {"name": "c"}, "data": {"k": value}})).unwrap()
    };
    maps.create(&PostParams::default(), &map("old")).await.unwrap();
    let showing = changed("web", |spec| {
        spec["volumes"] = json!([{"name": "c", "configMap": {"name": "c"}}]);
    });
    let uid = node.create(&showing).await;
    node.until_status("web", "runs", runs).await;
    let file = node.context().pod_dir(&uid).join("volumes/kubernetes.io~configmap/c/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    maps.replace("c", &PostParams::default(), &map("new")).await.unwrap();
    let shown = async || match std::fs::read_to_string(&file).unwrap().as_str() {
        "new" => Ok(()),
        other => Err(other.to_owned()),
    };
    wait::until("the file shows the new value", shown).await;
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
    assert!(!node.context().pod_dir(&uid).exists(), "nothing is made again");
}
