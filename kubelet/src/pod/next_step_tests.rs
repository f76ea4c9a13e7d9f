//! Cases: a pod, what the runtime shows, and the steps expected.

use serde_json::{Value, json};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use api_types::jiff::Timestamp;

use super::*;
use crate::{
    container::resources::resources,
    network::PortMapping,
    pod::{
        back_off::BackOff,
        plan::{Hook, Stopping},
    },
    probe::results::Unhealthy,
    runtime::{Exit, PodIdentity, observed::Observed},
};

const NOW: i64 = 1_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(policy: &str, init: &[&str], containers: &[&str]) -> Pod {
    let list = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"name": name, "image": "busybox:1"})).collect()
    };
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": list(init),
            "containers": list(containers),
        },
    }))
    .unwrap()
}

fn container(pod: &Pod, name: &str, attempt: u32, state: State) -> Container {
    let spec = spec::container(pod, name);
    Container {
        id: format!("{name}{attempt}"),
        pod: PodIdentity::default(),
        name: name.to_owned(),
        attempt,
        hash: spec.as_deref().map(spec::hash).unwrap_or_default(),
        sandbox_id: "POD0".to_owned(),
        addresses: None,
        image: String::new(),
        image_id: String::new(),
        state,
        pid: None,
        stop_signal: "SIGTERM".to_owned(),
        resources: spec.as_deref().map(resources).unwrap_or_default(),
    }
}

fn running() -> State {
    State::Running { started_at: at(NOW - 100) }
}

fn stopping(since: Timestamp, grace: Duration) -> Stopping {
    Stopping { since, grace, killed: false, undelivered: false, hook: None }
}

fn exited(code: i32, seconds_ago: i64) -> State {
    State::Exited(Exit {
        code,
        oom_killed: false,
        started_at: Some(at(NOW - seconds_ago - 1)),
        finished_at: at(NOW - seconds_ago),
        error: String::new(),
    })
}

/// A pod at one moment; the fields are those of [`Input`].
struct World {
    pod: Pod,
    containers: Vec<Container>,
    connected: Option<String>,
    stop: Option<Duration>,
    restarts: BackOff,
    failures: BTreeMap<String, Failure>,
    starting: BTreeSet<String>,
    connecting: bool,
    published: Option<Vec<PortMapping>>,
    left: bool,
    stopping: BTreeMap<String, Stopping>,
    unhealthy: BTreeMap<String, Unhealthy>,
    started: BTreeMap<String, bool>,
    stop_began: Timestamp,
}

impl World {
    fn new(pod: Pod, containers: &[(&str, u32, State)]) -> Self {
        let made = containers
            .iter()
            .map(|(name, attempt, state)| container(&pod, name, *attempt, state.clone()));
        Self {
            containers: made.collect(),
            pod,
            connected: Some("POD0".to_owned()),
            stop: None,
            restarts: BackOff::default(),
            failures: BTreeMap::new(),
            starting: BTreeSet::new(),
            connecting: false,
            published: None,
            left: false,
            stopping: BTreeMap::new(),
            unhealthy: BTreeMap::new(),
            started: BTreeMap::new(),
            stop_began: at(NOW),
        }
    }

    fn starting(mut self, name: &str) -> Self {
        self.starting.insert(name.to_owned());
        self
    }

    fn stop(mut self, seconds: u64) -> Self {
        self.stop = Some(Duration::from_secs(seconds));
        self
    }

    /// Asked when the pod was, with the pod's grace.
    fn asked_to_stop(self, id: &str, seconds_ago: i64, killed: bool) -> Self {
        self.given(id, seconds_ago, 30, killed)
    }

    fn given(mut self, id: &str, seconds_ago: i64, grace: u64, killed: bool) -> Self {
        let (since, grace) = (at(NOW - seconds_ago), Duration::from_secs(grace));
        self.stopping.insert(id.to_owned(), Stopping { killed, ..stopping(since, grace) });
        self
    }

    fn plan(&self) -> Plan {
        next_step(&Input {
            pod: &self.pod,
            observed: &Observed::new(self.containers.clone()),
            connected: self.connected.as_deref(),
            stop: self.stop,
            evicted: false,
            stop_began: self.stop_began,
            restarts: &self.restarts,
            failures: &self.failures,
            starting: &self.starting,
            connecting: self.connecting,
            addresses: self.published.as_ref().map(|_| Ipv4Addr::new(10, 244, 1, 2).into()),
            publish_ports: false,
            published: self.published.as_deref(),
            left: self.left,
            stopping: &self.stopping,
            unhealthy: &self.unhealthy,
            started: &self.started,
            now: at(NOW),
        })
    }

    fn steps(&self) -> Vec<String> {
        self.plan().steps.iter().map(brief).collect()
    }
}

fn brief(step: &Step) -> String {
    match step {
        Step::Stop { id, .. } => format!("stop {id}"),
        Step::Ask { id, grace } => format!("ask {id} {}", grace.as_secs()),
        Step::Kill { id, .. } => format!("kill {id}"),
        Step::Update { id, .. } => format!("update {id}"),
        Step::RemoveContainer { id } => format!("remove {id}"),
        Step::RunSandbox { attempt } => format!("sandbox {attempt}"),
        Step::RemoveSandbox { id } => format!("remove sandbox {id}"),
        Step::PublishPorts { ports } => format!("publish {}", ports.len()),
        Step::Leave => "leave".to_owned(),
        Step::Start { name, attempt } => format!("start {name}/{attempt}"),
    }
}

fn check(world: &World, expected: &[&str]) {
    assert_eq!(world.steps(), expected);
}

fn check_always(containers: &[(&str, u32, State)], expected: &[&str]) {
    check(&World::new(pod("Always", &[], &["a", "b"]), containers), expected);
}

#[test]
fn a_new_pod_gets_a_sandbox_first_and_then_its_containers() {
    check_always(&[], &["sandbox 0", "start a/0", "start b/0"]);
    let with_init = pod("Always", &["i", "j"], &["a"]);
    check(&World::new(with_init, &[]), &["sandbox 0", "start i/0"]);
    check_always(&[("POD", 0, running())], &["start a/0", "start b/0"]);
    check_always(&[("POD", 0, running()), ("a", 0, running())], &["start b/0"]);
}

#[test]
fn a_container_that_is_being_started_is_left_alone_and_the_others_are_not() {
    let sandbox = ("POD", 0, running());
    let world =
        |containers: &[_]| World::new(pod("Always", &[], &["a", "b"]), containers).starting("a");
    check(&world(std::slice::from_ref(&sandbox)), &["start b/0"]);
    check(&world(&[sandbox.clone(), ("a", 0, State::Created)]), &["start b/0"]);
    check(
        &world(&[sandbox.clone(), ("a", 0, exited(1, 60)), ("b", 0, exited(1, 60))]),
        &["start b/1"],
    );
    let waiting = Waiting { reason: "ErrImagePull".into(), message: "no".into() };
    let mut again = world(&[sandbox]);
    let failure = Failure { waiting: waiting.clone(), retry_at: at(NOW) };
    again.failures.insert("a".into(), failure);
    assert_eq!(again.plan().waiting["a"], waiting, "what was wrong is said until it is mended");
}

#[test]
fn nothing_is_removed_while_a_container_is_being_started() {
    let made = [("POD", 0, running()), ("a", 0, State::Created)];
    let stopped = World::new(pod("Always", &[], &["a"]), &made).stop(30).starting("a").plan();
    assert_eq!((&stopped.steps[..], stopped.ended, stopped.gone), (&[][..], false, false));
    let empty = World::new(pod("Always", &[], &["a"]), &[]).stop(30).starting("a").plan();
    assert!(!empty.gone);
    let done = [("POD", 0, running()), ("i", 0, exited(1, 60)), ("a", 0, exited(0, 60))];
    let retired = World::new(with_sidecars("Never", &["i"], &["a"]), &done).starting("i").plan();
    assert_eq!((&retired.steps[..], retired.ended), (&[][..], false));
    let dead = [("POD", 0, exited(255, 10)), ("i", 0, exited(0, 60))];
    check(&World::new(pod("Always", &["i"], &["a"]), &dead).starting("a"), &[]);
}

#[test]
fn a_pod_that_is_as_it_should_be_needs_nothing() {
    let world = World::new(
        pod("Always", &[], &["a", "b"]),
        &[("POD", 0, running()), ("a", 0, running()), ("b", 2, running())],
    );
    assert_eq!(world.plan(), Plan::default());
}

#[test]
fn a_container_that_was_made_but_not_started_is_made_again() {
    check_always(
        &[("POD", 0, running()), ("a", 1, State::Created), ("b", 0, running())],
        &["start a/1"],
    );
}

#[test]
fn restart_policy_decides_about_ended_containers() {
    let check = |policy, code, expected: &[&str]| {
        let containers = [("POD", 0, running()), ("a", 0, exited(code, 60)), ("b", 0, running())];
        check(&World::new(pod(policy, &[], &["a", "b"]), &containers), expected);
    };
    check("Always", 0, &["start a/1"]);
    check("Always", 1, &["start a/1"]);
    check("OnFailure", 0, &[]);
    check("OnFailure", 1, &["start a/1"]);
    check("Never", 0, &[]);
    check("Never", 1, &[]);
}

#[test]
fn a_finished_pod_loses_its_sandbox_and_keeps_its_containers() {
    let ended = [("POD", 0, running()), ("a", 0, exited(1, 60))];
    check(&World::new(pod("Never", &[], &["a"]), &ended), &["remove sandbox POD0"]);
    check(&World::new(pod("Never", &[], &["a"]), &ended[1..]), &[]);
    let done = [("POD", 0, running()), ("a", 0, exited(0, 60))];
    check(&World::new(pod("OnFailure", &[], &["a"]), &done), &["remove sandbox POD0"]);
}

#[test]
fn a_container_that_ends_again_waits_for_its_back_off() {
    let mut world =
        World::new(pod("Always", &[], &["a"]), &[("POD", 0, running()), ("a", 1, exited(1, 5))]);
    world.restarts.next("a", at(NOW - 20));
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.wake_at, Some(at(NOW + 5)));
    assert_eq!(plan.waiting["a"].reason, "CrashLoopBackOff");
    assert_eq!(
        plan.waiting["a"].message,
        "back-off 10s restarting failed container=a pod=p_default(u)"
    );
    world.containers[1].state = exited(1, 10);
    check(&world, &["start a/2"]);
}

#[test]
fn a_container_that_is_being_started_again_does_not_wait_for_its_back_off() {
    let ended = [("POD", 0, running()), ("a", 0, exited(1, 5))];
    let mut world = World::new(pod("Always", &[], &["a"]), &ended).starting("a");
    world.restarts.next("a", at(NOW));
    assert_eq!(world.plan(), Plan::default());
}

#[test]
fn a_failed_start_is_shown_until_it_is_tried_again() {
    let mut world = World::new(pod("Always", &[], &["a"]), &[("POD", 0, running())]);
    let waiting = Waiting { reason: "ErrImagePull".into(), message: "no".into() };
    let failure = Failure { waiting: waiting.clone(), retry_at: at(NOW + 3) };
    world.failures.insert("a".into(), failure);
    let plan = world.plan();
    assert_eq!((plan.steps, plan.wake_at), (vec![], Some(at(NOW + 3))));
    assert_eq!(plan.waiting["a"], waiting);
    world.failures.values_mut().for_each(|failure| failure.retry_at = at(NOW));
    check(&world, &["start a/0"]);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let check = |containers: &[(&str, u32, State)], expected: &[&str]| {
        check(&World::new(pod("Always", &["i", "j"], &["a"]), containers), expected);
    };
    let sandbox = ("POD", 0, running());
    check(std::slice::from_ref(&sandbox), &["start i/0"]);
    check(&[sandbox.clone(), ("i", 0, running())], &[]);
    check(&[sandbox.clone(), ("i", 0, exited(1, 60))], &["start i/1"]);
    check(&[sandbox.clone(), ("i", 0, exited(0, 60))], &["start j/0"]);
    let done = [sandbox, ("i", 0, exited(0, 60)), ("j", 0, exited(0, 50))];
    check(&done, &["start a/0"]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let containers = [("POD", 0, running()), ("i", 0, exited(1, 60))];
    check(&World::new(pod("Never", &["i"], &["a"]), &containers), &["remove sandbox POD0"]);
}

/// The init containers of these names are sidecars.
fn with_sidecars(policy: &str, sidecars: &[&str], containers: &[&str]) -> Pod {
    let mut pod = pod(policy, sidecars, containers);
    for sidecar in pod.spec.as_mut().unwrap().init_containers.iter_mut().flatten() {
        sidecar.restart_policy = Some("Always".to_owned());
    }
    pod
}

#[test]
fn a_sidecar_goes_on_beside_the_others_and_is_restarted() {
    let check = |containers: &[(&str, u32, State)], expected: &[&str]| {
        check(&World::new(with_sidecars("Never", &["i"], &["a"]), containers), expected);
    };
    check(&[("POD", 0, running()), ("i", 0, running())], &["start a/0"]);
    let ended = [("POD", 0, running()), ("i", 0, exited(1, 60)), ("a", 0, running())];
    check(&ended, &["start i/1"]);
    let finished = [("POD", 0, running()), ("i", 0, running()), ("a", 0, exited(0, 60))];
    check(&finished, &["stop i0"]);
}

#[test]
fn the_others_wait_until_a_sidecars_startup_probe_has_passed() {
    let pod = with_sidecars("Always", &["i", "j"], &["a"]);
    let mut world = World::new(pod, &[("POD", 0, running()), ("i", 0, running())]);
    world.started.insert("i0".to_owned(), false);
    check(&world, &[]);
    world.started.insert("i0".to_owned(), true);
    check(&world, &["start j/0"]);
}

#[test]
fn sidecars_stop_after_the_others_the_last_one_first() {
    let pod = with_sidecars("Always", &["i", "j"], &["a"]);
    let all = [("POD", 0, running()), ("i", 0, running()), ("j", 0, running())];
    let mut every = all.to_vec();
    every.push(("a", 0, running()));
    let world = |containers: &[_]| World::new(pod.clone(), containers).stop(30);
    check(&world(&every), &["stop a0"]);
    check(&world(&every).asked_to_stop("a0", 1, false), &[]);
    check(&world(&all), &["stop j0"]);
    check(&world(&all).asked_to_stop("j0", 1, false), &[]);
    check(&world(&all[..2]), &["stop i0"]);
    check(&World::new(pod.clone(), &every).stop(0), &["kill a0", "kill j0", "kill i0"]);
}

#[test]
fn sidecars_stop_together_once_the_pods_time_is_over() {
    let pod = with_sidecars("Always", &["i", "j"], &["a"]);
    let all = [("POD", 0, running()), ("i", 0, running()), ("j", 0, running())];
    let mut every = all.to_vec();
    every.push(("a", 0, running()));
    let world = |containers: &[_], passed: i64| {
        let mut world = World::new(pod.clone(), containers).stop(2);
        world.stop_began = at(NOW - passed);
        world
    };
    check(&world(&all, 1), &["stop j0"]);
    assert_eq!(world(&all, 1).plan().wake_at, Some(at(NOW + 1)));
    check(&world(&all, 1).asked_to_stop("j0", 1, false), &[]);
    check(&world(&all, 2).asked_to_stop("j0", 1, false), &["stop i0"]);
    check(&world(&all, 2), &["stop j0", "stop i0"]);
    check(&world(&every, 2).asked_to_stop("a0", 1, false), &["stop j0", "stop i0"]);
}

#[test]
fn sidecars_get_what_the_others_left_of_the_grace() {
    let pod = with_sidecars("Always", &["i"], &["a"]);
    let sidecar = [("POD", 0, running()), ("i", 0, running())];
    let grace = |passed: i64| {
        let mut world = World::new(pod.clone(), &sidecar).stop(30);
        world.stop_began = at(NOW - passed);
        match &world.plan().steps[..] {
            [Step::Stop { grace, .. }] => grace.as_secs(),
            steps => panic!("{steps:?}"),
        }
    };
    assert_eq!((grace(0), grace(20), grace(30)), (30, 10, 2));
    // The time that was given does not shrink while it passes.
    let mut asked = World::new(pod.clone(), &sidecar).stop(30).given("i0", 9, 10, false);
    asked.stop_began = at(NOW - 29);
    assert_eq!((asked.steps(), asked.plan().wake_at), (vec![], Some(at(NOW + 1))));
}

#[test]
fn a_pod_stops_at_its_deadline_and_wakes_for_it() {
    let mut world =
        World::new(pod("Always", &[], &["a"]), &[("POD", 0, running()), ("a", 0, running())]);
    world.pod.spec.as_mut().unwrap().active_deadline_seconds = Some(60);
    let mut since = |second: i64| {
        let status = json!({"phase": "Running", "startTime": at(second)});
        world.pod.status = serde_json::from_value(status).unwrap();
        (world.steps(), world.plan().wake_at)
    };
    assert_eq!(since(NOW - 50), (vec![], Some(at(NOW + 10))));
    assert_eq!(since(NOW - 60), (vec!["stop a0".to_owned()], None));
}

#[test]
fn the_address_is_free_when_a_finished_pod_has_no_sandbox() {
    let ended = [("POD", 0, running()), ("a", 0, exited(0, 60))];
    let retired =
        |containers: &[_]| World::new(pod("Never", &[], &["a"]), containers).plan().retired;
    assert!(!retired(&ended));
    assert!(retired(&ended[1..]));
}

#[test]
fn a_sandbox_that_may_not_be_connected_is_made_anew() {
    let world = |containers: &[(&str, u32, State)], connected: Option<&str>| {
        let mut world = World::new(pod("Always", &[], &["a"]), containers);
        world.connected = connected.map(str::to_owned);
        world
    };
    let left = [("POD", 0, running())];
    check(&world(&left, None), &["remove sandbox POD0"]);
    check(&world(&left, Some("POD0")), &["start a/0"]);
    let with = |state| world(&[("POD", 0, running()), ("a", 0, state)], None);
    check(&with(State::Created), &["remove sandbox POD0"]);
    check(&with(running()), &[]);
}

#[test]
fn a_container_is_asked_to_stop_once_its_hook_has_ended_or_had_its_time() {
    let world = |hook, seconds_ago| {
        let containers = [("POD", 0, running()), ("a", 0, running())];
        let mut world = World::new(pod("Always", &[], &["a"]), &containers).stop(30);
        world = world.asked_to_stop("a0", seconds_ago, false);
        world.stopping.get_mut("a0").unwrap().hook = Some(hook);
        world
    };
    check(&world(Hook::Runs, 10), &[]);
    assert_eq!(world(Hook::Runs, 10).plan().wake_at, Some(at(NOW + 20)));
    check(&world(Hook::Runs, 30), &["ask a0 2"]);
    check(&world(Hook::Ended, 10), &["ask a0 20"]);
    check(&world(Hook::Ended, 29), &["ask a0 2"]);
}

#[test]
fn a_container_that_a_signal_did_not_reach_is_asked_again_until_its_time_is_over() {
    let world = |seconds_ago| {
        let containers = [("POD", 0, running()), ("a", 0, running())];
        let mut world = World::new(pod("Always", &[], &["a"]), &containers).stop(30);
        world = world.asked_to_stop("a0", seconds_ago, false);
        world.stopping.get_mut("a0").unwrap().undelivered = true;
        world
    };
    check(&world(10), &["ask a0 30"]);
    assert_eq!(world(10).plan().wake_at, Some(at(NOW + 20)));
    check(&world(30), &["kill a0"]);
}

#[test]
fn sidecars_wait_for_a_container_that_is_being_started_when_the_pod_stops() {
    let containers = [("POD", 0, running()), ("s", 0, running())];
    let world = || World::new(with_sidecars("Always", &["s"], &["a"]), &containers).stop(30);
    check(&world(), &["stop s0"]);
    check(&world().starting("a"), &[]);
}

#[test]
fn a_dead_sandbox_takes_its_containers_with_it() {
    let dead = ("POD", 0, exited(255, 10));
    let world = World::new(
        pod("Always", &["i"], &["a"]),
        &[dead.clone(), ("i", 0, exited(0, 60)), ("a", 0, running())],
    );
    check(&world, &["kill a0"]);
    let world = World::new(
        pod("Always", &["i"], &["a"]),
        &[dead, ("i", 0, exited(0, 60)), ("a", 0, exited(137, 1))],
    );
    check(&world, &["remove sandbox POD0", "remove i0", "sandbox 1"]);
    let made = [("POD", 0, exited(255, 10)), ("a", 0, State::Created)];
    check(&World::new(pod("Always", &[], &["a"]), &made), &["remove sandbox POD0", "sandbox 1"]);
}

#[test]
fn a_container_of_an_earlier_sandbox_is_replaced() {
    let mut world =
        World::new(pod("Always", &[], &["a"]), &[("POD", 1, running()), ("a", 0, running())]);
    world.connected = Some("POD1".to_owned());
    check(&world, &["stop a0"]);
    world.containers[1].state = exited(137, 60);
    check(&world, &["start a/1"]);
}

#[test]
fn a_changed_image_and_a_failed_probe_restart_the_container() {
    let containers = [("POD", 0, running()), ("a", 0, running())];
    let mut world = World::new(pod("Always", &[], &["a"]), &containers);
    world.containers[1].hash = "old".to_owned();
    check(&world, &["stop a0"]);
    let mut world = World::new(pod("Always", &[], &["a"]), &containers);
    world.unhealthy.insert("a0".to_owned(), unhealthy(None));
    check(&world, &["stop a0"]);
}

fn unhealthy(grace: Option<u64>) -> Unhealthy {
    let message = "Container a failed liveness probe, will be restarted".to_owned();
    Unhealthy { message, grace: grace.map(Duration::from_secs) }
}

#[test]
fn a_probe_may_have_a_grace_of_its_own() {
    let containers = [("POD", 0, running()), ("a", 0, running())];
    let mut world = World::new(pod("Always", &[], &["a"]), &containers);
    let mut grace = |own| {
        world.unhealthy.insert("a0".to_owned(), unhealthy(own));
        match &world.plan().steps[..] {
            [Step::Stop { grace, .. }] => grace.as_secs(),
            steps => panic!("{steps:?}"),
        }
    };
    assert_eq!((grace(None), grace(Some(5)), grace(Some(90))), (30, 5, 90));
}

#[test]
fn a_container_that_was_asked_to_stop_goes_on_stopping_without_a_reason() {
    let containers = [("POD", 0, running()), ("a", 0, running())];
    let world = || World::new(pod("Always", &[], &["a"]), &containers);
    let asked = world().given("a0", 4, 5, false);
    assert_eq!((asked.steps(), asked.plan().wake_at), (vec![], Some(at(NOW + 1))));
    check(&world().given("a0", 5, 5, false), &["kill a0"]);
}

#[test]
fn only_the_last_dead_container_is_kept() {
    check_always(
        &[
            ("POD", 0, running()),
            ("a", 1, exited(1, 90)),
            ("a", 2, exited(1, 60)),
            ("a", 3, running()),
            ("b", 0, running()),
        ],
        &["remove a1"],
    );
}

fn deleted(containers: &[(&str, u32, State)], grace: u64) -> World {
    World::new(pod("Always", &[], &["a", "b"]), containers).stop(grace)
}

#[test]
fn deletion_asks_waits_kills_and_removes() {
    let alive = [("POD", 0, running()), ("a", 0, running()), ("b", 0, exited(0, 9))];
    check(&deleted(&alive, 30), &["stop a0"]);
    let asked = deleted(&alive, 30).asked_to_stop("a0", 10, false);
    assert_eq!((asked.steps(), asked.plan().wake_at), (vec![], Some(at(NOW + 20))));
    check(&deleted(&alive, 30).asked_to_stop("a0", 30, false), &["kill a0"]);
    let ended = [("POD", 0, running()), ("a", 0, exited(137, 1)), ("b", 0, exited(0, 9))];
    check(&deleted(&ended, 30), &["remove a0", "remove b0", "remove sandbox POD0"]);
    check(&deleted(&[], 30), &["leave"]);
    assert!(!deleted(&[], 30).plan().gone);
    let left = World { left: true, ..deleted(&[], 30) };
    assert_eq!((left.steps(), left.plan().gone), (vec![], true));
}

#[test]
fn no_grace_kills_at_once_and_a_shorter_one_counts_from_the_first_request() {
    let alive = [("POD", 0, running()), ("a", 0, running())];
    check(&deleted(&alive, 0), &["kill a0"]);
    check(&deleted(&alive, 5).asked_to_stop("a0", 10, false), &["kill a0"]);
    // SIGKILL is repeated only after a while.
    check(&deleted(&alive, 5).asked_to_stop("a0", 1, true), &[]);
    check(&deleted(&alive, 5).asked_to_stop("a0", 2, true), &["kill a0"]);
}

#[test]
fn a_container_removed_by_hand_counts_as_a_restart() {
    let mut world = World::new(pod("Always", &[], &["a"]), &[("POD", 0, running())]);
    world.pod.status = serde_json::from_value(json!({"containerStatuses": [{
        "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 2,
        "containerID": "docker://x"}]}))
    .unwrap();
    check(&world, &["start a/3"]);
}

#[test]
fn a_grace_period_may_be_as_long_as_a_number_can_say() {
    let mut endless = pod("Always", &[], &["a"]);
    endless.spec.as_mut().unwrap().termination_grace_period_seconds = Some(i64::MAX);
    let mut world = World::new(endless, &[("POD", 0, running()), ("a", 0, running())]);
    let grace = spec::grace(&world.pod);
    world.stop = Some(grace);
    world.stopping.insert("a0".to_owned(), stopping(at(NOW), grace));
    let plan = world.plan();
    assert!(plan.steps.is_empty() && plan.wake_at > Some(at(NOW)), "{plan:?}");
}

#[test]
fn while_a_sandbox_is_connected_nothing_is_made_removed_or_ended() {
    let world = World { connecting: true, ..World::new(pod("Always", &[], &["a"]), &[]) };
    check(&world, &[]);
    let plan = world.stop(30).plan();
    assert_eq!((&plan.steps[..], plan.ended, plan.gone), (&[][..], false, false));
}

#[test]
fn ports_are_published_for_a_connected_pod_until_they_are_as_it_wants_them() {
    let mut pod = pod("Always", &[], &["a"]);
    let ports = json!([{"containerPort": 80, "hostPort": 8080}]);
    pod.spec.as_mut().unwrap().containers[0].ports = serde_json::from_value(ports).unwrap();
    let made = [("POD", 0, running()), ("a", 0, running())];
    let world = |published| World { published, ..World::new(pod.clone(), &made) };
    let Step::PublishPorts { ports } = world(Some(Vec::new())).plan().steps.remove(0) else {
        panic!("no ports are published")
    };
    assert_eq!((ports[0].host_port, ports[0].pod_port), (8080, 80));
    check(&world(Some(ports.clone())), &[]);
    check(&world(Some(Vec::new())).stop(30), &["stop a0"]);
    let half_made = World { connected: None, ..World::new(pod.clone(), &made[..1]) };
    check(&World { published: Some(Vec::new()), ..half_made }, &["remove sandbox POD0"]);
}

#[test]
fn a_container_that_was_added_is_started_once_and_nobody_waits_for_it() {
    let mut pod = pod("Always", &["i"], &["a"]);
    let added = json!([{"name": "debug", "image": "busybox:1"}]);
    pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(added).unwrap();
    let check = |more: &[(&str, u32, State)], expected: &[&str]| {
        let containers = [&[("POD", 0, running())], more].concat();
        check(&World::new(pod.clone(), &containers), expected);
    };
    check(&[], &["start debug/0", "start i/0"]);
    check(&[("i", 0, running()), ("debug", 0, running())], &[]);
    let ended = exited(1, 60);
    check(&[("i", 0, exited(0, 60)), ("debug", 0, ended)], &["start a/0"]);
}

#[test]
fn a_container_is_given_what_it_is_to_take_or_begins_anew_where_it_says_so() {
    let check = |given: Value, policy: Option<(&str, &str)>, expected: &[&str]| {
        let mut pod = pod("Always", &[], &["a"]);
        let wanted = &mut pod.spec.as_mut().unwrap().containers[0];
        let sizes = json!({"requests": {"cpu": "1"}, "limits": {"memory": "64Mi"}});
        wanted.resources = serde_json::from_value(sizes).unwrap();
        wanted.resize_policy = policy.map(|(resource, restart)| {
            let policy = json!([{"resourceName": resource, "restartPolicy": restart}]);
            serde_json::from_value(policy).unwrap()
        });
        let mut world = World::new(pod, &[("POD", 0, running()), ("a", 0, running())]);
        let has = serde_json::from_value(json!({"name": "a", "resources": given})).unwrap();
        world.containers[1].resources = resources(&has);
        assert_eq!(world.steps(), expected, "{given} {policy:?}");
    };
    let sizes =
        |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu}, "limits": {"memory": memory}});
    check(sizes("1", "64Mi"), None, &[]);
    check(sizes("2", "64Mi"), None, &["update a0"]);
    check(sizes("1", "128Mi"), None, &["update a0"]);
    check(json!({}), None, &["update a0"]);
    let restarts = |resource| Some((resource, "RestartContainer"));
    check(sizes("1", "64Mi"), restarts("cpu"), &[]);
    check(sizes("2", "64Mi"), restarts("cpu"), &["stop a0"]);
    check(sizes("2", "64Mi"), restarts("memory"), &["update a0"]);
    check(sizes("2", "32Mi"), restarts("memory"), &["stop a0"]);
    check(sizes("2", "64Mi"), Some(("cpu", "NotRequired")), &["update a0"]);
    // What nobody bounds any more stays bounded.
    let bounded = json!({"requests": {"cpu": "1"}, "limits": {"memory": "64Mi", "cpu": "2"}});
    check(bounded, None, &[]);
}

#[test]
fn a_container_that_asks_for_other_memory_begins_anew_where_it_says_so() {
    let check = |id: &str, had: Value, restart: &str, expected: &[&str]| {
        let mut pod = pod("Always", &[], &["a"]);
        let wanted = &mut pod.spec.as_mut().unwrap().containers[0];
        wanted.resources = serde_json::from_value(json!({"requests": {"memory": "1Gi"}})).unwrap();
        let policy = json!([{"resourceName": "memory", "restartPolicy": restart}]);
        wanted.resize_policy = serde_json::from_value(policy).unwrap();
        let mut told = json!({"name": "a", "image": "", "imageID": "", "ready": true,
                              "restartCount": 0, "containerID": id});
        told["resources"] = had;
        pod.status = serde_json::from_value(json!({"containerStatuses": [told]})).unwrap();
        check(&World::new(pod, &[("POD", 0, running()), ("a", 0, running())]), expected);
    };
    let memory = |amount: &str| json!({"requests": {"memory": amount}});
    let restart = "RestartContainer";
    check("docker://a0", memory("512Mi"), restart, &["stop a0"]);
    check("docker://a0", json!({}), restart, &["stop a0"]);
    check("docker://a0", memory("1024Mi"), restart, &[]);
    check("docker://a0", memory("512Mi"), "NotRequired", &[]);
    // Of that which was there before, or by a kubelet that told nothing of it.
    check("docker://z9", memory("512Mi"), restart, &[]);
    check("docker://a0", Value::Null, restart, &[]);
}

#[test]
fn a_container_that_has_its_size_goes_on_where_the_host_bounds_nothing() {
    let mut pod = pod("Always", &[], &["a"]);
    let sizes = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "64Mi"}});
    let wanted = &mut pod.spec.as_mut().unwrap().containers[0];
    wanted.resources = serde_json::from_value(sizes.clone()).unwrap();
    let policy =
        |resource: &str| json!({"resourceName": resource, "restartPolicy": "RestartContainer"});
    wanted.resize_policy =
        serde_json::from_value(json!([policy("cpu"), policy("memory")])).unwrap();
    let told = json!({"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                      "containerID": "docker://a0", "resources": sizes});
    pod.status = serde_json::from_value(json!({"containerStatuses": [told]})).unwrap();
    let mut world = World::new(pod, &[("POD", 0, running()), ("a", 0, running())]);
    let unbounded = serde_json::from_value(json!({"name": "a"})).unwrap();
    world.containers[1].resources = resources(&unbounded);
    assert_eq!(world.steps(), ["update a0"]);
}
