use std::collections::BTreeSet;

use api_types::jiff::Timestamp;
use http::StatusCode;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use testkit::ControlPlane;

use super::assessment::{Assessment, View};
use super::back_off::BackOff;
use super::plan::Action;
use super::*;
use crate::workers::WorkersArgs;

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A Job as the API server completes it, with this spec and status.
fn job(spec: Value, status: Value) -> Job {
    let mut whole = json!({"parallelism": 2, "backoffLimit": 6, "completionMode": "NonIndexed",
        "suspend": false, "podReplacementPolicy": "TerminatingOrFailed",
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let metadata = json!({"namespace": "ns", "name": "work", "uid": "j"});
    serde_json::from_value(json!({"metadata": metadata, "spec": whole, "status": status})).unwrap()
}

/// A pod of the Job that is held, with changes; its uid is its name.
fn pod(name: &str, phase: &str, changes: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": name, "finalizers": [job_pod::TRACKING],
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"phase": phase},
    });
    merge(&mut pod, changes);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn merge(target: &mut Value, changes: Value) {
    match changes {
        Value::Object(fields) => {
            fields.into_iter().for_each(|(name, value)| merge(&mut target[name], value));
        }
        value => *target = value,
    }
}

fn going() -> Value {
    json!({"metadata": {"deletionTimestamp": "2026-01-01T00:30:00Z"}})
}

fn free() -> Value {
    json!({"metadata": {"finalizers": []}})
}

fn at_index(index: u32, failures: u32) -> Value {
    json!({"metadata": {"annotations": {
        "batch.kubernetes.io/job-completion-index": index.to_string(),
        "batch.kubernetes.io/job-index-failure-count": failures.to_string()}}})
}

/// Ended with this code, a moment ago.
fn exited(code: i32) -> Value {
    let state = json!({"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:59:55Z"}});
    json!({"status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": state}]}})
}

fn with<T>(job: &Job, pods: &[Arc<Pod>], then: impl FnOnce(&View<'_>, &Assessment) -> T) -> T {
    let status = job.status.clone().unwrap();
    let view = View { job, spec: job.spec.as_ref().unwrap(), status: &status, pods, now: now() };
    then(&view, &view.assess(&BackOff::default()))
}

/// Why it comes to its end, in a word.
fn end(job: &Job, pods: &[Arc<Pod>]) -> Option<String> {
    with(job, pods, |_, assessment| assessment.end.clone().map(|end| end.reason))
}

/// What is done next: `+2`, `+[0,3]`, `-[a]`, `6s` or nothing.
fn next(job: &Job, pods: &[Arc<Pod>]) -> String {
    with(job, pods, |view, assessment| match plan::of(view, assessment) {
        Action::Nothing => String::new(),
        Action::Wait(time) => format!("{}s", time.as_secs()),
        Action::Delete(pods) => {
            let names = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
            format!("-{:?}", names.collect::<BTreeSet<_>>()).replace('"', "")
        }
        Action::Create(wanted) => {
            let indexes: Option<Vec<u32>> = wanted.iter().map(|it| it.index).collect();
            indexes.map_or(format!("+{}", wanted.len()), |indexes| format!("+{indexes:?}"))
        }
    })
}

#[test]
fn no_more_pods_run_than_are_wanted_and_left() {
    let check = |spec: Value, status: Value, pods: &[Arc<Pod>], expected: &str| {
        assert_eq!(next(&job(spec.clone(), status), pods), expected, "{spec}");
    };
    let running = |name| pod(name, "Running", json!({}));
    let none = || json!({});
    check(json!({"completions": 5}), none(), &[], "+2");
    check(json!({"completions": 1}), none(), &[], "+1");
    check(json!({"completions": 5}), none(), &[running("a")], "+1");
    check(json!({"completions": 5}), json!({"succeeded": 4}), &[running("a")], "");
    check(json!({"completions": 5}), json!({"succeeded": 4}), &[], "+1");
    check(json!({"parallelism": 0}), none(), &[running("a")], "-{a}");
    check(json!({"parallelism": 2000, "completions": 2000}), none(), &[], "+500");
    // Without a number of completions one success is enough, and what runs may end.
    let succeeded = pod("s", "Succeeded", json!({}));
    check(none(), none(), &[running("a")], "+1");
    check(none(), none(), &[running("a"), succeeded.clone()], "");
    // What is not held any more is counted.
    let counted = pod("s", "Succeeded", free());
    check(json!({"completions": 2}), json!({"succeeded": 1}), &[counted], "+1");
    check(json!({"completions": 2}), json!({"succeeded": 1}), &[succeeded], "");
    check(json!({"suspend": true}), none(), &[running("a"), running("b")], "-{a, b}");
}

#[test]
fn a_pod_that_goes_is_replaced_at_once_or_when_it_has_ended() {
    let leaving = [pod("a", "Running", going()), pod("b", "Running", json!({}))];
    let replacing =
        |policy: &str| job(json!({"completions": 5, "podReplacementPolicy": policy}), json!({}));
    let known = job(
        json!({"completions": 5}),
        json!({"failed": 1, "uncountedTerminatedPods": {"failed": ["a"]}}),
    );
    assert_eq!(next(&known, &leaving), "+1");
    assert_eq!(next(&replacing("Failed"), &leaving), "");
    let ended = [pod("a", "Failed", going()), pod("b", "Running", json!({}))];
    let known = job(
        json!({"completions": 5, "podReplacementPolicy": "Failed"}),
        json!({"uncountedTerminatedPods": {"failed": ["a"]}}),
    );
    assert_eq!(next(&known, &ended), "+1");
}

#[test]
fn a_failed_pod_is_waited_for_before_it_is_replaced() {
    let failed = [pod("a", "Failed", exited(1))];
    assert_eq!(next(&job(json!({"completions": 1}), json!({})), &failed), "5s");
}

#[test]
fn indexes_are_filled_from_below_and_none_twice() {
    let indexed = |more: Value| {
        let mut spec = json!({"completions": 5, "parallelism": 3, "completionMode": "Indexed"});
        merge(&mut spec, more);
        spec
    };
    let running = |name, index| pod(name, "Running", at_index(index, 0));
    let check = |spec: Value, status: Value, pods: &[Arc<Pod>], expected: &str| {
        assert_eq!(next(&job(indexed(spec.clone()), status), pods), expected, "{spec}");
    };
    check(json!({}), json!({}), &[], "+[0, 1, 2]");
    check(json!({}), json!({"completedIndexes": "0,2"}), &[running("a", 1)], "+[3, 4]");
    check(json!({}), json!({}), &[running("a", 1), running("b", 1)], "-{a}");
    check(json!({}), json!({}), &[running("a", 9)], "-{a}");
    let succeeded = pod("s", "Succeeded", at_index(0, 0));
    check(json!({}), json!({}), &[succeeded], "+[1, 2, 3]");
    // Each index waits for itself.
    let per_index = || json!({"backoffLimitPerIndex": 1});
    let mut failed = at_index(0, 0);
    merge(&mut failed, exited(1));
    check(per_index(), json!({}), &[pod("f", "Failed", failed)], "+[1, 2]");
    check(per_index(), json!({"failedIndexes": "0-1"}), &[], "+[2, 3, 4]");
}

#[test]
fn a_job_ends_for_a_reason() {
    let check = |spec: Value, status: Value, pods: &[Arc<Pod>], expected: Option<&str>| {
        assert_eq!(end(&job(spec.clone(), status), pods).as_deref(), expected, "{spec}");
    };
    let failed = |name| pod(name, "Failed", exited(3));
    let limit = |limit: u32| json!({"completions": 3, "backoffLimit": limit});
    check(limit(1), json!({}), &[failed("a")], None);
    check(limit(1), json!({}), &[failed("a"), failed("b")], Some("BackoffLimitExceeded"));
    check(limit(1), json!({"failed": 1}), &[failed("a")], Some("BackoffLimitExceeded"));
    let known = json!({"uncountedTerminatedPods": {"failed": ["a"]}});
    check(limit(1), known, &[failed("a")], None);
    check(limit(0), json!({}), &[pod("a", "Running", going())], Some("BackoffLimitExceeded"));
    let started = |time: &str| json!({"startTime": format!("2026-01-01T00:{time}Z")});
    let deadline = || json!({"activeDeadlineSeconds": 60});
    check(deadline(), started("59:30"), &[], None);
    check(deadline(), started("59:00"), &[], Some("DeadlineExceeded"));
    let said = json!({"conditions": [
        {"type": "SuccessCriteriaMet", "status": "True", "reason": "SuccessPolicy"}]});
    check(limit(0), said, &[failed("a")], Some("SuccessPolicy"));
}

#[test]
fn containers_that_start_anew_use_up_the_limit() {
    let mut spec = json!({"backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure", "containers": []}}});
    let restarted = |count: u32| {
        let status =
            json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": count});
        pod("a", "Running", json!({"status": {"containerStatuses": [status]}}))
    };
    let of = |spec: &Value, count| end(&job(spec.clone(), json!({})), &[restarted(count)]);
    assert_eq!(of(&spec, 1), None);
    assert_eq!(of(&spec, 2).as_deref(), Some("BackoffLimitExceeded"));
    spec["backoffLimit"] = json!(0);
    assert_eq!(of(&spec, 0), None);
    assert_eq!(of(&spec, 1).as_deref(), Some("BackoffLimitExceeded"));
}

#[test]
fn policies_say_what_a_failure_means() {
    let policy = |rule: Value| json!({"backoffLimit": 0, "podFailurePolicy": {"rules": [rule]}});
    let check = |rule: Value, pod: Arc<Pod>, expected: Option<(&str, &str)>| {
        let job = job(policy(rule.clone()), json!({}));
        let end = with(&job, &[pod], |_, it| it.end.clone());
        let told = end.as_ref().map(|end| (&*end.reason, &*end.message));
        assert_eq!(told, expected, "{rule}");
    };
    let codes = |action: &str, operator: &str, container: Value| json!({"action": action, "onExitCodes": {"operator": operator, "values": [3], "containerName": container}});
    let limit = Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    let failed = || pod("a", "Failed", exited(3));
    let why = "Container c for pod ns/a failed with exit code 3 matching FailJob rule at index 0";
    check(codes("FailJob", "In", json!(null)), failed(), Some(("PodFailurePolicy", why)));
    check(codes("FailJob", "In", json!("d")), failed(), limit);
    check(codes("FailJob", "NotIn", json!(null)), failed(), limit);
    check(codes("Ignore", "In", json!("c")), failed(), None);
    check(codes("Count", "In", json!("c")), failed(), limit);
    let disrupted =
        json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}});
    let rule = |action: &str| json!({"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    check(rule("Ignore"), pod("a", "Failed", disrupted.clone()), None);
    let why = "Pod ns/a has condition DisruptionTarget matching FailJob rule at index 0";
    check(rule("FailJob"), pod("a", "Failed", disrupted), Some(("PodFailurePolicy", why)));
}

#[test]
fn indexes_fail_by_themselves_and_may_be_enough() {
    let spec = |more: Value| {
        let mut spec = json!({"completions": 3, "completionMode": "Indexed"});
        merge(&mut spec, more);
        spec
    };
    let check = |more: Value, status: Value, pods: &[Arc<Pod>], expected: Option<&str>| {
        assert_eq!(end(&job(spec(more.clone()), status), pods).as_deref(), expected, "{more}");
    };
    let failed = |name, index, failures| pod(name, "Failed", at_index(index, failures));
    let per_index = || json!({"backoffLimitPerIndex": 1, "backoffLimit": 100});
    let rest = || json!({"completedIndexes": "1,2"});
    check(per_index(), rest(), &[failed("a", 0, 0)], None);
    check(per_index(), rest(), &[failed("a", 0, 1)], Some("FailedIndexes"));
    check(per_index(), json!({}), &[failed("a", 0, 1)], None);
    let none = json!({"backoffLimitPerIndex": 1, "backoffLimit": 100, "maxFailedIndexes": 0});
    check(none, json!({}), &[failed("a", 0, 1)], Some("MaxFailedIndexesExceeded"));
    let success = |rule: Value| json!({"successPolicy": {"rules": [rule]}});
    let leader = || success(json!({"succeededIndexes": "0"}));
    check(leader(), json!({"completedIndexes": "1"}), &[], None);
    check(leader(), json!({"completedIndexes": "0"}), &[], Some("SuccessPolicy"));
    check(leader(), json!({}), &[pod("a", "Succeeded", at_index(0, 0))], Some("SuccessPolicy"));
    let two = || success(json!({"succeededIndexes": "0-2", "succeededCount": 2}));
    check(two(), json!({"completedIndexes": "1"}), &[], None);
    check(two(), json!({"completedIndexes": "1,2"}), &[], Some("SuccessPolicy"));
    check(
        success(json!({"succeededCount": 1})),
        json!({"completedIndexes": "1"}),
        &[],
        Some("SuccessPolicy"),
    );
}

/// The status after a look at the pods, and whose finalizers go.
fn tallied(job: &Job, pods: &[Arc<Pod>]) -> (Value, Vec<String>) {
    with(job, pods, |view, assessment| {
        let mut status = view.status.clone();
        let tally = tracking::tally(view, assessment, &mut status);
        let released = tally.released.iter().filter_map(|pod| pod.metadata.uid.clone());
        (serde_json::to_value(status).unwrap(), released.collect())
    })
}

#[test]
fn a_pod_is_counted_once_wherever_its_controller_is_killed() {
    let pods = [
        pod("s", "Succeeded", json!({})),
        pod("f", "Failed", json!({})),
        pod("r", "Running", json!({})),
    ];
    let start = job(json!({"completions": 5}), json!({}));
    let (status, released) = tallied(&start, &pods);
    assert_eq!(released, ["s", "f"]);
    assert_eq!(status["uncountedTerminatedPods"], json!({"succeeded": ["s"], "failed": ["f"]}));
    // Killed before a finalizer is gone: the same again.
    let written = job(json!({"completions": 5}), status.clone());
    assert_eq!(tallied(&written, &pods), (status.clone(), released));
    // Killed after the first one.
    let half = [pod("s", "Succeeded", free()), pods[1].clone()];
    let (status, _) = tallied(&written, &half);
    assert_eq!(status, json!({"succeeded": 1, "uncountedTerminatedPods": {"failed": ["f"]}}));
    // And after it is gone altogether.
    let (status, _) = tallied(&job(json!({"completions": 5}), status), &[]);
    assert_eq!(status, json!({"succeeded": 1, "failed": 1, "uncountedTerminatedPods": {}}));
}

#[test]
fn a_failing_job_counts_what_it_stops() {
    let job = job(json!({"completions": 5, "backoffLimit": 0}), json!({}));
    let pods = [pod("f", "Failed", json!({})), pod("r", "Running", json!({}))];
    let (status, released) = tallied(&job, &pods);
    assert_eq!(released, ["f", "r"]);
    assert_eq!(status["uncountedTerminatedPods"], json!({"failed": ["f", "r"]}));
    assert_eq!(status["conditions"][0]["type"], "FailureTarget");
}

#[test]
fn an_index_that_has_succeeded_is_its_own_record_and_one_to_be_tried_again_is_held() {
    let spec = json!({"completions": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 2});
    let pods = [
        pod("s", "Succeeded", at_index(1, 0)),
        pod("t", "Failed", at_index(2, 0)),
        pod("u", "Failed", at_index(3, 2)),
    ];
    let (status, released) = tallied(&job(spec, json!({"completedIndexes": "0"})), &pods);
    assert_eq!(released, ["s", "u"]);
    assert_eq!(status["completedIndexes"], "0,1");
    assert_eq!((&status["succeeded"], &status["failedIndexes"]), (&json!(2), &json!("3")));
    assert_eq!(status["uncountedTerminatedPods"], json!({"failed": ["u"]}));
}

#[test]
fn it_is_over_when_every_pod_is_counted_and_gone() {
    let end = End::complete();
    let finish = |status: Value| {
        let mut status: JobStatus = serde_json::from_value(status).unwrap();
        let finished = tracking::finish(&mut status, &end, now());
        assert_eq!(finished, status.completion_time.is_some());
        finished
    };
    assert!(finish(json!({"uncountedTerminatedPods": {}, "terminating": 0})));
    assert!(!finish(json!({"terminating": 1})));
    assert!(!finish(json!({"uncountedTerminatedPods": {"failed": ["a"]}})));
}

#[test]
fn a_failure_counts_for_the_back_off_until_the_status_knows_it() {
    let known = BackOff::default();
    let back_off = |pods: &[Arc<Pod>], status: Value| {
        with(&job(json!({"completions": 5}), status), pods, |view, _| view.back_off(&known))
    };
    let failed = [pod("f", "Failed", exited(1))];
    assert_eq!(back_off(&failed, json!({})), known.after(&[], &failed));
    let told = json!({"uncountedTerminatedPods": {"failed": ["f"]}});
    assert_eq!(back_off(&failed, told), known);
    assert_eq!(back_off(&[pod("f", "Failed", free())], json!({"failed": 1})), known);
}

/// A controller that sees a Job with a pod that has failed; its stores follow nothing.
async fn with_failed_pod(plane: &ControlPlane) -> Jobs {
    let context = crate::controllers::tests::context(plane.listwatch(), WorkersArgs::default());
    let controller = Jobs::new(&context);
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = json!({"metadata": {"name": "work"}, "spec": {"template": template}});
    let job: Job = serde_json::from_value(job).unwrap();
    let jobs = Api::<Job>::namespaced(plane.client(), "default");
    let job = jobs.create(&PostParams::default(), &job).await.unwrap();
    let made =
        job_pod::make(&job, &job.spec.as_ref().unwrap().template, &job_pod::Wanted::default());
    let pods = Api::<Pod>::namespaced(plane.client(), "default");
    let mut failed = pods.create(&PostParams::default(), &made).await.unwrap();
    failed.status.get_or_insert_default().phase = Some("Failed".to_owned());
    controller.informers.jobs.take_in(Event::Apply(job));
    controller.informers.pods.take_in(Event::Apply(failed));
    controller
}

#[tokio::test]
async fn a_status_that_could_not_be_written_leaves_the_back_off_as_it_was() {
    let plane = ControlPlane::start().await;
    let controller = with_failed_pod(&plane).await;
    let key = ObjectKey::new("default", "work");
    let is_status = |path: &str| path.ends_with("work/status");
    let conflict = StatusCode::CONFLICT;
    let faster = plane.answer(conflict, move |request| is_status(request.uri().path()));
    controller.reconcile(&key).await.unwrap_err();
    assert_eq!(controller.back_offs.lock().get(&key), None);
    drop(faster);
    controller.reconcile(&key).await.unwrap();
    assert_ne!(controller.back_offs.lock().get(&key), Some(&BackOff::default()));
    assert!(controller.back_offs.lock().contains_key(&key));
}

#[test]
fn what_pods_say_may_be_beyond_all_bounds() {
    let failures = u32::MAX.to_string();
    let changes = json!({"metadata": {
        "deletionTimestamp": "2026-01-01T00:30:00Z", "deletionGracePeriodSeconds": i64::MAX,
        "annotations": {
            "batch.kubernetes.io/job-index-failure-count": failures,
            "batch.kubernetes.io/job-index-ignored-failure-count": failures}}});
    let pod = pod("a", "Failed", changes);
    let deleted: Timestamp = "2026-01-01T00:30:00Z".parse().unwrap();
    assert_eq!(job_pod::ended_at(&pod), deleted);
    assert_eq!(job_pod::all_failures(&pod), u32::MAX);
    let spec = job(json!({}), json!({})).spec.unwrap();
    assert_eq!(job_pod::failures_after(Some(&pod), &spec), (u32::MAX, 0));
}

#[test]
fn a_pod_knows_its_index() {
    let job = job(json!({"completions": 4, "completionMode": "Indexed"}), json!({}));
    let wanted = job_pod::Wanted { index: Some(3), failures: Some((1, 0)) };
    let made = job_pod::make(&job, &job.spec.as_ref().unwrap().template, &wanted);
    let made = serde_json::to_value(made).unwrap();
    let metadata = &made["metadata"];
    assert_eq!(metadata["generateName"], "work-3-");
    assert_eq!(metadata["finalizers"], json!([job_pod::TRACKING]));
    assert_eq!(metadata["labels"], json!({"batch.kubernetes.io/job-completion-index": "3"}));
    assert_eq!(
        metadata["annotations"],
        json!({
        "batch.kubernetes.io/job-completion-index": "3",
        "batch.kubernetes.io/job-index-failure-count": "1"})
    );
    assert_eq!(made["spec"]["hostname"], "work-3");
    let path = "metadata.labels['batch.kubernetes.io/job-completion-index']";
    assert_eq!(
        made["spec"]["containers"][0]["env"],
        json!([
        {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": path}}}])
    );
}
