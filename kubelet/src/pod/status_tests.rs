//! Cases: a pod, what the runtime shows, and the status expected.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use api_types::api::core::v1::{Container as ContainerSpec, PodCondition};

use super::super::{
    conditions::{OWNED_CONDITIONS, PASSING_CONDITIONS},
    container_status::end_reason,
    status_input::{PulledImage, Refused, Resizing, Waiting},
};
use super::*;
use crate::{
    admission::Pending,
    container::resources::resources,
    probe::results::Probed,
    runtime::{Exit, PodIdentity, State},
};

const NOW: i64 = 1_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(policy: &str, init: bool) -> Pod {
    let container = |name| json!({"name": name, "image": "busybox:1"});
    let init = if init { vec![container("i")] } else { vec![] };
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": init,
            "containers": [container("a"), container("b")],
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }))
    .unwrap()
}

fn container(name: &str, attempt: u32, state: State) -> Container {
    Container {
        id: format!("{name}{attempt}"),
        pod: PodIdentity::default(),
        name: name.to_owned(),
        attempt,
        hash: String::new(),
        sandbox_id: "POD0".to_owned(),
        addresses: None,
        image: "busybox:1".to_owned(),
        image_id: "sha256:0".to_owned(),
        state,
        pid: None,
        stop_signal: "SIGTERM".to_owned(),
        resources: resources(&ContainerSpec::default()),
    }
}

fn running() -> State {
    State::Running { started_at: at(NOW - 100) }
}

fn exited(code: i32) -> State {
    State::Exited(Exit {
        code,
        oom_killed: false,
        started_at: Some(at(NOW - 20)),
        finished_at: at(NOW - 10),
        error: String::new(),
    })
}

fn status_with(
    pod: &Pod,
    containers: &[(&str, u32, State)],
    waiting: &[(&str, &str)],
    probed: &Probed,
) -> PodStatus {
    compute_with(pod, containers, waiting, probed, |_| {})
}

fn compute_with(
    pod: &Pod,
    containers: &[(&str, u32, State)],
    waiting: &[(&str, &str)],
    probed: &Probed,
    change: impl FnOnce(&mut StatusInput<'_>),
) -> PodStatus {
    let observed = containers.iter().map(|(name, attempt, s)| container(name, *attempt, s.clone()));
    let waiting = waiting.iter().map(|(name, reason)| {
        ((*name).to_owned(), Waiting { reason: (*reason).to_owned(), message: String::new() })
    });
    let mut input = StatusInput {
        pod,
        observed: &Observed::new(observed.collect()),
        terminated: false,
        evicted: None,
        starting: false,
        starts: &BTreeSet::new(),
        resizing: &Resizing::default(),
        messages: &BTreeMap::new(),
        pulled: &BTreeMap::new(),
        waiting: &waiting.collect(),
        probed,
        host_ip: "192.0.2.1",
        second_host_ip: None,
        pod_ip: Some("10.244.0.2"),
        second_pod_ip: None,
        now: at(NOW),
    };
    change(&mut input);
    compute(&input)
}

fn status_of(pod: &Pod, containers: &[(&str, u32, State)], waiting: &[(&str, &str)]) -> PodStatus {
    status_with(pod, containers, waiting, &Probed::default())
}

fn status(policy: &str, containers: &[(&str, u32, State)], waiting: &[(&str, &str)]) -> PodStatus {
    status_of(&pod(policy, false), containers, waiting)
}

/// `reason` or `running` of each container.
fn states(status: &PodStatus) -> Vec<String> {
    let brief = |status: &ContainerStatus| {
        let state = status.state.clone().unwrap_or_default();
        let waiting = state.waiting.and_then(|waiting| waiting.reason);
        let ended = state.terminated.and_then(|terminated| terminated.reason);
        waiting.or(ended).unwrap_or("running".to_owned())
    };
    status.container_statuses.iter().flatten().map(brief).collect()
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
    status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == kind).unwrap()
}

#[test]
fn the_status_says_which_generation_it_is_about() {
    let mut pod = pod("Always", false);
    pod.metadata.generation = Some(3);
    let status = status_of(&pod, &[("POD", 0, running())], &[]);
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().flatten().all(|c| c.observed_generation == Some(3)));
}

fn check_phase(policy: &str, a: State, b: State, expected: &str) {
    let containers = [("POD", 0, running()), ("a", 0, a), ("b", 0, b)];
    assert_eq!(status(policy, &containers, &[]).phase.as_deref(), Some(expected), "{policy}");
}

#[test]
fn phases() {
    check_phase("Always", running(), running(), "Running");
    check_phase("Always", exited(0), exited(1), "Running");
    check_phase("Never", running(), exited(1), "Running");
    check_phase("Never", exited(0), exited(0), "Succeeded");
    check_phase("Never", exited(0), exited(1), "Failed");
    check_phase("OnFailure", exited(0), exited(0), "Succeeded");
    check_phase("OnFailure", exited(0), exited(1), "Running");
    check_phase("Always", running(), State::Created, "Pending");
}

#[test]
fn a_pod_without_containers_is_being_created() {
    let status = status("Always", &[], &[]);
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(states(&status), ["ContainerCreating", "ContainerCreating"]);
    assert_eq!(status.qos_class.as_deref(), Some("Burstable"));
    assert_eq!(status.start_time, Some(Time(at(NOW))));
}

#[test]
fn a_failed_start_shows_its_reason() {
    let containers = [("POD", 0, running()), ("b", 0, running())];
    let status = status("Always", &containers, &[("a", "ErrImagePull")]);
    assert_eq!(states(&status), ["ErrImagePull", "running"]);
    assert_eq!(status.phase.as_deref(), Some("Pending"));
}

#[test]
fn a_crash_loop_shows_how_it_ended_last() {
    let containers = [("POD", 0, running()), ("a", 4, exited(3)), ("b", 0, running())];
    let status = status("Always", &containers, &[("a", "CrashLoopBackOff")]);
    assert_eq!(states(&status), ["CrashLoopBackOff", "running"]);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let a = &status.container_statuses.as_ref().unwrap()[0];
    let last = a.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert_eq!((a.restart_count, a.ready), (4, false));
    assert_eq!(a.container_id.as_deref(), Some("docker://a4"));
}

#[test]
fn ends_have_kubernetes_reasons() {
    let end = |code, oom_killed, error: &str| {
        let exit = Exit {
            code,
            oom_killed,
            started_at: None,
            finished_at: at(0),
            error: error.to_owned(),
        };
        end_reason(&exit)
    };
    assert_eq!(end(0, false, ""), "Completed");
    assert_eq!(end(1, false, ""), "Error");
    assert_eq!(end(137, true, ""), "OOMKilled");
    assert_eq!(end(127, false, "no such file"), "ContainerCannotRun");
}

#[test]
fn ready_follows_the_containers() {
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let ready = status("Always", &both, &[]);
    for kind in OWNED_CONDITIONS.iter().filter(|kind| !PASSING_CONDITIONS.contains(kind)) {
        assert_eq!(condition(&ready, kind).status, "True", "{kind}");
    }
    let unready = status("Always", &both[..2], &[]);
    let verdict = condition(&unready, "Ready");
    assert_eq!(verdict.status, "False");
    assert_eq!(verdict.reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(verdict.message.as_deref(), Some("containers with unready status: [b]"));
}

#[test]
fn probes_decide_about_readiness_and_start() {
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let probed = Probed {
        ready: BTreeMap::from([("a0".to_owned(), false)]),
        started: BTreeMap::from([("b0".to_owned(), false)]),
        ..Probed::default()
    };
    let status = status_with(&pod("Always", false), &both, &[], &probed);
    let brief: Vec<_> =
        status.container_statuses.iter().flatten().map(|c| (c.ready, c.started)).collect();
    assert_eq!(brief, [(false, Some(true)), (false, Some(false))]);
}

#[test]
fn a_succeeded_pod_is_not_ready_because_it_is_completed() {
    let ended = [("a", 0, exited(0)), ("b", 0, exited(0))];
    let status = status("Never", &ended, &[]);
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("PodCompleted"));
    assert_eq!(condition(&status, "Initialized").status, "True");
}

#[test]
fn init_containers_come_first() {
    let waiting =
        status_of(&pod("Always", true), &[("POD", 0, running()), ("i", 0, running())], &[]);
    assert_eq!(waiting.phase.as_deref(), Some("Pending"));
    assert_eq!(states(&waiting), ["PodInitializing", "PodInitializing"]);
    let verdict = condition(&waiting, "Initialized");
    assert_eq!(verdict.message.as_deref(), Some("containers with incomplete status: [i]"));
    let failed = status_of(&pod("Never", true), &[("i", 0, exited(1))], &[]);
    assert_eq!(failed.phase.as_deref(), Some("Failed"));
}

#[test]
fn transition_times_change_only_with_the_status() {
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let mut pod = pod("Always", false);
    let mut before = status_of(&pod, &both, &[]);
    let since = Some(Time(at(5)));
    for condition in before.conditions.iter_mut().flatten() {
        condition.last_transition_time.clone_from(&since);
    }
    let foreign = PodCondition {
        type_: "example.com/gate".into(),
        status: "True".into(),
        ..PodCondition::default()
    };
    before.conditions.as_mut().unwrap().push(foreign.clone());
    pod.status = Some(before);
    let after = status_of(&pod, &both[..2], &[]);
    assert_eq!(condition(&after, "Initialized").last_transition_time, since);
    assert_eq!(condition(&after, "Ready").last_transition_time, Some(Time(at(NOW))));
    assert_eq!(condition(&after, "example.com/gate"), &foreign);
}

#[test]
fn a_container_that_vanished_is_said_to_be_lost() {
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let mut pod = pod("Always", false);
    pod.status = Some(status_of(&pod, &both, &[]));
    let after = status_of(&pod, &both[..2], &[]);
    let b = &after.container_statuses.as_ref().unwrap()[1];
    let last = b.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    assert_eq!(after.phase.as_deref(), Some("Running"));
}

fn terminated(input: &mut StatusInput<'_>) {
    input.terminated = true;
}

#[test]
fn a_pod_that_was_stopped_reports_how_it_ended() {
    let ended = |containers: &[(&str, u32, State)]| {
        let pod = pod("Always", false);
        compute_with(&pod, containers, &[], &Probed::default(), terminated)
    };
    let well = ended(&[("a", 0, exited(0)), ("b", 0, exited(0))]);
    assert_eq!(well.phase.as_deref(), Some("Succeeded"));
    let killed = ended(&[("a", 0, exited(137)), ("b", 0, exited(0))]);
    assert_eq!((killed.phase.as_deref(), states(&killed)[0].as_str()), (Some("Failed"), "Error"));
    let never_ran = ended(&[]);
    assert_eq!(never_ran.phase.as_deref(), Some("Failed"));
    assert_eq!(states(&never_ran), ["ContainerCreating", "ContainerCreating"]);
}

#[test]
fn of_a_pod_that_was_stopped_a_container_that_vanished_has_ended_somehow() {
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let mut pod = pod("Always", false);
    pod.status = Some(status_of(&pod, &both, &[]));
    let ended = compute_with(&pod, &[("a", 0, exited(0))], &[], &Probed::default(), terminated);
    assert_eq!(states(&ended), ["Completed", "ContainerStatusUnknown"]);
    assert_eq!(ended.phase.as_deref(), Some("Failed"));
}

#[test]
fn no_phase_is_final_while_something_runs_or_is_being_started() {
    let mut pod = pod("Never", true);
    let init = pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap();
    init[0].restart_policy = Some("Always".to_owned());
    let done = [("i", 0, running()), ("a", 0, exited(0)), ("b", 0, exited(0))];
    assert_eq!(status_of(&pod, &done, &[]).phase.as_deref(), Some("Running"));
    assert_eq!(status_of(&pod, &done[1..], &[]).phase.as_deref(), Some("Succeeded"));
    let starting = |input: &mut StatusInput<'_>| input.starting = true;
    let started_anew = compute_with(&pod, &done[1..], &[], &Probed::default(), starting);
    assert_eq!(started_anew.phase.as_deref(), Some("Running"));
}

/// The id of `a`'s image, while these are being started.
fn image_id(pod: &Pod, a: Option<(u32, State)>, starts: &[&str], pulled: &str) -> String {
    // They live as long as any input may.
    let starts = Box::leak(Box::new(starts.iter().map(|name| (*name).to_owned()).collect()));
    let image = PulledImage { reference: pulled.to_owned(), id: "sha256:1".to_owned() };
    let pulled = Box::leak(Box::new(BTreeMap::from([("a".to_owned(), image)])));
    let containers = a.map(|(attempt, state)| ("a", attempt, state));
    let status = compute_with(pod, containers.as_slice(), &[], &Probed::default(), |input| {
        input.starts = starts;
        input.pulled = pulled;
    });
    status.container_statuses.unwrap().remove(0).image_id
}

#[test]
fn of_a_first_start_the_image_is_told_if_it_was_pulled_for_it_and_else_that_of_the_container() {
    let new = pod("Always", false);
    let made = || Some((0, State::Created));
    for a in [None, made()] {
        assert_eq!(image_id(&new, a.clone(), &["a"], "none"), "");
        assert_eq!(image_id(&new, a, &["a"], "busybox:1"), "sha256:1");
    }
    // Its start has failed, another's goes on.
    assert_eq!(image_id(&new, made(), &["b"], "none"), "sha256:0");
    let again = [(1, State::Created), (0, running()), (0, exited(1))];
    for a in again {
        assert_eq!(image_id(&new, Some(a.clone()), &["a"], "none"), "sha256:0", "{a:?}");
    }
}

#[test]
fn an_image_that_was_told_of_is_not_taken_back_unless_another_is_wanted() {
    let mut pod = pod("Always", false);
    pod.status = Some(status_of(&pod, &[("a", 0, exited(1))], &[("a", "CrashLoopBackOff")]));
    assert_eq!(image_id(&pod, None, &["a"], "none"), "sha256:0");
    pod.spec.as_mut().unwrap().containers[0].image = Some("busybox:2".to_owned());
    assert_eq!(image_id(&pod, None, &["a"], "busybox:1"), "");
}

#[test]
fn a_sidecar_that_is_not_ready_keeps_the_pod_from_being_ready() {
    let mut pod = pod("Always", true);
    let init = pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap();
    init[0].restart_policy = Some("Always".to_owned());
    let all =
        [("POD", 0, running()), ("i", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let probed = Probed { ready: BTreeMap::from([("i0".to_owned(), false)]), ..Probed::default() };
    let status = status_with(&pod, &all, &[], &probed);
    let message = condition(&status, "Ready").message.as_deref();
    assert_eq!(message, Some("containers with unready status: [i]"));
    assert_eq!(condition(&status_of(&pod, &all, &[]), "Ready").status, "True");
}

#[test]
fn a_pod_past_its_deadline_fails_once_nothing_runs() {
    let mut pod = pod("Always", false);
    pod.spec.as_mut().unwrap().active_deadline_seconds = Some(10);
    pod.status.as_mut().unwrap().start_time = Some(Time(at(NOW - 10)));
    let phase = |containers: &[_]| {
        let status = status_of(&pod, containers, &[]);
        (status.phase.unwrap(), status.reason)
    };
    let ends = [("POD", 0, running()), ("a", 0, exited(0)), ("b", 0, running())];
    assert_eq!(phase(&ends), ("Running".to_owned(), None));
    let ended = [("a", 0, exited(0)), ("b", 0, exited(0))];
    assert_eq!(phase(&ended), ("Failed".to_owned(), Some("DeadlineExceeded".to_owned())));
}

#[test]
fn every_closed_readiness_gate_is_named() {
    let mut pod = pod("Always", false);
    let gates = json!([{"conditionType": "x"}, {"conditionType": "y"}]);
    pod.spec.as_mut().unwrap().readiness_gates = serde_json::from_value(gates).unwrap();
    let closed = json!([{"type": "x", "status": "False"}]);
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(closed).unwrap();
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let status = status_of(&pod, &both, &[]);
    assert_eq!(condition(&status, "ContainersReady").status, "True");
    let verdict = condition(&status, "Ready");
    assert_eq!(verdict.reason.as_deref(), Some("ReadinessGatesNotReady"));
    let message = "the status of pod readiness gate \"x\" is not \"True\", but False, \
        corresponding condition of pod readiness gate \"y\" does not exist.";
    assert_eq!(verdict.message.as_deref(), Some(message));
}

#[test]
fn a_container_that_was_added_has_a_status_and_no_part_in_the_pods() {
    let mut pod = pod("Always", false);
    let added = json!([{"name": "debug", "image": "busybox:1"}]);
    pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(added).unwrap();
    let containers = [("a", 0, running()), ("b", 0, running()), ("debug", 0, exited(1))];
    let status = status_of(&pod, &containers, &[]);
    assert_eq!(condition(&status, "Ready").status, "True");
    let [debug] = &status.ephemeral_container_statuses.as_deref().unwrap() else { panic!() };
    let ended = debug.state.as_ref().and_then(|state| state.terminated.as_ref()).unwrap();
    assert_eq!((debug.name.as_str(), debug.ready, ended.exit_code), ("debug", false, 1));
    assert_eq!(status_of(&pod, &containers[..2], &[]).phase.as_deref(), Some("Running"));
}

/// Both of whose containers ask for a processor, as far as the node gives it to them.
fn sized() -> Pod {
    let mut pod = pod("Always", false);
    pod.metadata.generation = Some(2);
    for container in &mut pod.spec.as_mut().unwrap().containers {
        container.resources =
            serde_json::from_value(json!({"requests": {"cpu": "1"}, "claims": []})).unwrap();
    }
    pod
}

fn resized(pod: &Pod, containers: &[(&str, u32, State)], resizing: Resizing) -> PodStatus {
    let resizing: &Resizing = Box::leak(Box::new(resizing));
    compute_with(pod, containers, &[], &Probed::default(), |input| input.resizing = resizing)
}

#[test]
fn a_resize_is_told_of_while_it_goes_on() {
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, exited(1))];
    let mut before = sized();
    let had = json!({"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                     "resources": {"requests": {"cpu": "2m"}}});
    before.status.as_mut().unwrap().container_statuses =
        serde_json::from_value(json!([had])).unwrap();
    let status = status_of(&before, &both, &[]);
    let goes_on = condition(&status, "PodResizeInProgress");
    assert_eq!((&*goes_on.status, goes_on.reason.as_deref()), ("True", None));
    assert_eq!(goes_on.observed_generation, Some(2));
    let cpu = |status: &PodStatus, index: usize| {
        let container = &status.container_statuses.as_ref().unwrap()[index];
        let amount = |list: &Option<BTreeMap<String, api_types::Quantity>>| {
            list.as_ref().map(|list| list["cpu"].0.clone())
        };
        let has = container.resources.as_ref().and_then(|has| amount(&has.requests));
        (amount(&container.allocated_resources), has)
    };
    let one = || Some("1".to_owned());
    assert_eq!(cpu(&status, 0), (one(), Some("2m".to_owned())), "it has what it had");
    assert_eq!(cpu(&status, 1), (one(), one()), "it will begin with what it was given");

    let refused = Refused { message: "it takes more".to_owned(), ..Refused::default() };
    let refused = [("a".to_owned(), refused)].into();
    let failed = Resizing { refused, ..Resizing::default() };
    let status = resized(&before, &both, failed);
    let goes_on = condition(&status, "PodResizeInProgress");
    let said = (goes_on.reason.as_deref(), goes_on.message.as_deref());
    assert_eq!(said, (Some("Error"), Some("it takes more")));

    let done = status_of(&pod("Always", false), &both, &[]);
    assert!(!done.conditions.iter().flatten().any(|c| c.type_.starts_with("PodResize")));
}

#[test]
fn a_pod_that_is_not_given_what_it_asks_for_says_so_until_it_asks_no_more() {
    let message = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
    let pending = Pending { reason: "Infeasible", message: message.to_owned() };
    let resizing = Resizing { wanted: true, pending: Some(pending), ..Resizing::default() };
    let both = [("POD", 0, running()), ("a", 0, running()), ("b", 0, running())];
    let mut pod = pod("Always", false);
    let status = resized(&pod, &both, resizing);
    let told = condition(&status, "PodResizePending");
    let said = (&*told.status, told.reason.as_deref(), told.message.as_deref());
    assert_eq!(said, ("True", Some("Infeasible"), Some(message)));
    pod.status = Some(status);
    let later = status_of(&pod, &both, &[]);
    assert!(!later.conditions.iter().flatten().any(|c| c.type_ == "PodResizePending"));
}
