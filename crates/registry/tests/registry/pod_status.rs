//! The READY, STATUS and RESTARTS of pods, case by case as `kubectl get pods` shows them.

use serde_json::Value;

use crate::{def, now, yaml};

/// A pod of two containers (and what `more` adds to its spec) with this status.
fn row(more: &str, status: &str, metadata: &str) -> Vec<Value> {
    let pod = format!(
        "{{metadata: {{name: a, {metadata}}}, spec: {{containers: [{{name: a}}, {{name: b}}], {more}}}, status: {status}}}"
    );
    def("pods").row(&yaml(&pod), now()).unwrap()
}

fn check(status: &str, expected: [&str; 3]) {
    check_with("", status, expected);
}

fn check_with(more: &str, status: &str, expected: [&str; 3]) {
    assert_eq!(row(more, status, "")[1..4], expected, "{more} {status}");
}

const RUNNING: &str = "{ready: true, restartCount: 0, state: {running: {}}}";

#[test]
fn of_a_pod_that_waits() {
    check("{phase: Pending}", ["0/2", "Pending", "0"]);
    check("{phase: Pending, reason: Evicted}", ["0/2", "Evicted", "0"]);
    check(
        "{phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}",
        ["0/2", "SchedulingGated", "0"],
    );
    check(
        "{phase: Pending, containerStatuses: [{state: {waiting: {reason: ContainerCreating}}}, {state: {waiting: {reason: ContainerCreating}}}]}",
        ["0/2", "ContainerCreating", "0"],
    );
}

#[test]
fn of_a_pod_that_runs() {
    check(
        &format!("{{phase: Running, containerStatuses: [{RUNNING}, {RUNNING}]}}"),
        ["2/2", "Running", "0"],
    );
    check(
        &format!(
            "{{phase: Running, containerStatuses: [{RUNNING}, {{restartCount: 3, state: {{waiting: {{reason: CrashLoopBackOff}}}}, lastState: {{terminated: {{exitCode: 1, finishedAt: '2026-01-01T00:55:00Z'}}}}}}]}}"
        ),
        ["1/2", "CrashLoopBackOff", "3 (5m ago)"],
    );
    check(
        "{phase: Running, containerStatuses: [{state: {waiting: {reason: ErrImagePull}}}, {state: {waiting: {reason: ImagePullBackOff}}}]}",
        ["0/2", "ErrImagePull", "0"],
    );
}

#[test]
fn of_a_pod_of_which_a_part_is_done() {
    let done = "{state: {terminated: {exitCode: 0, reason: Completed}}}";
    let ready = "conditions: [{type: Ready, status: 'True'}]";
    check(
        &format!("{{phase: Running, {ready}, containerStatuses: [{done}, {RUNNING}]}}"),
        ["1/2", "Running", "0"],
    );
    check(
        &format!("{{phase: Running, containerStatuses: [{done}, {RUNNING}]}}"),
        ["1/2", "NotReady", "0"],
    );
    check(
        &format!("{{phase: Succeeded, containerStatuses: [{done}, {done}]}}"),
        ["0/2", "Completed", "0"],
    );
}

#[test]
fn of_a_pod_that_failed() {
    let ended = |how: &str| {
        format!("{{phase: Failed, containerStatuses: [{{state: {{terminated: {how}}}}}]}}")
    };
    check(&ended("{exitCode: 1, reason: Error}"), ["0/2", "Error", "0"]);
    check(&ended("{exitCode: 137, reason: OOMKilled}"), ["0/2", "OOMKilled", "0"]);
    check(&ended("{exitCode: 2}"), ["0/2", "ExitCode:2", "0"]);
    check(&ended("{exitCode: 137, signal: 9}"), ["0/2", "Signal:9", "0"]);
}

#[test]
fn of_a_pod_that_prepares() {
    let init = "initContainers: [{name: i}, {name: j}]";
    let status = |init: &str| {
        format!(
            "{{phase: Pending, initContainerStatuses: {init}, containerStatuses: [{{state: {{waiting: {{reason: PodInitializing}}}}}}]}}"
        )
    };
    let done = "{name: i, state: {terminated: {exitCode: 0}}}";
    check_with(init, &status("[{name: i, state: {running: {}}}]"), ["0/2", "Init:0/2", "0"]);
    check_with(
        init,
        &status(&format!("[{done}, {{name: j, state: {{waiting: {{reason: PodInitializing}}}}}}]")),
        ["0/2", "Init:1/2", "0"],
    );
    check_with(
        init,
        &status(&format!(
            "[{done}, {{name: j, restartCount: 4, state: {{waiting: {{reason: CrashLoopBackOff}}}}}}]"
        )),
        ["0/2", "Init:CrashLoopBackOff", "4"],
    );
    check_with(
        init,
        &status("[{name: i, state: {terminated: {exitCode: 3}}}]"),
        ["0/2", "Init:ExitCode:3", "0"],
    );
    check_with(
        init,
        &status("[{name: i, state: {terminated: {exitCode: 3, reason: Error}}}]"),
        ["0/2", "Init:Error", "0"],
    );
    check_with(init, &status(&format!("[{done}, {done}]")), ["0/2", "PodInitializing", "0"]);
}

#[test]
fn of_a_pod_with_a_sidecar() {
    let init = "initContainers: [{name: s, restartPolicy: Always}]";
    let sidecar = "{name: s, ready: true, started: true, restartCount: 2, state: {running: {}}}";
    check_with(
        init,
        &format!(
            "{{phase: Running, initContainerStatuses: [{sidecar}], containerStatuses: [{RUNNING}, {RUNNING}]}}"
        ),
        ["3/3", "Running", "2"],
    );
}

#[test]
fn of_a_pod_that_goes() {
    let deleted = "deletionTimestamp: '2026-01-01T00:59:00Z'";
    let status = |status: &str| row("", status, deleted)[2].clone();
    assert_eq!(
        status(&format!("{{phase: Running, containerStatuses: [{RUNNING}]}}")),
        "Terminating"
    );
    assert_eq!(status("{phase: Running, reason: NodeLost}"), "Unknown");
    assert_eq!(status("{phase: Succeeded}"), "Succeeded");
}

#[test]
fn wide_columns_tell_where_it_is() {
    let wide = |status: &str| {
        row("nodeName: n1, readinessGates: [{conditionType: lb}, {conditionType: x}]", status, "")
            [5..]
            .to_vec()
    };
    assert_eq!(wide("{}"), ["<none>", "n1", "<none>", "0/2"]);
    assert_eq!(
        wide(
            "{podIPs: [{ip: 10.244.0.7}], nominatedNodeName: n2, conditions: [{type: lb, status: 'True'}]}"
        ),
        ["10.244.0.7", "n1", "n2", "1/2"]
    );
}
