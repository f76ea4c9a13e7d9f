//! Jobs: what the server makes of them, of which faults clients are told, and what may change when.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{context, create, def, now, try_create, update, update_status, yaml};

/// A Job of this spec, beside its template.
fn job(spec: &str) -> Value {
    let mut job = yaml(&format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}"));
    if job["spec"]["template"].is_null() {
        let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
        job["spec"]["template"] = json!({"spec": pod});
    }
    job
}

fn faults(spec: &str, expected: &Expect) {
    let def = def("jobs");
    let error = try_create(&def, job(spec), &context(&def)).unwrap_err();
    told(error.status(), expected);
}

fn told(status: &api_types::meta::Status, expected: &Expect) {
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let lines = causes.map(|cause| format!("{}: {}\n", text(&cause.field), text(&cause.message)));
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn a_job_gets_a_selector_of_its_own_and_what_it_does_not_say() {
    let made = create(
        &def("jobs"),
        job(
            "podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}",
        ),
    );
    let labels = json!({
        "batch.kubernetes.io/controller-uid": "0ab1", "batch.kubernetes.io/job-name": "a",
        "controller-uid": "0ab1", "job-name": "a"});
    assert_eq!(made["spec"]["template"]["metadata"]["labels"], labels);
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "0ab1"}});
    assert_eq!(made["spec"]["selector"], selector);
    assert_eq!(made["metadata"]["labels"], labels);
    let spec = &made["spec"];
    let said = ["completions", "parallelism", "backoffLimit", "completionMode", "suspend"];
    let said = said.map(|field| spec[field].clone());
    assert_eq!(json!(said), json!([1, 1, 6, "NonIndexed", false]));
    assert_eq!(spec["podReplacementPolicy"], "Failed");
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
    let per_index = "completions: 2, completionMode: Indexed, backoffLimitPerIndex: 1";
    assert_eq!(create(&def("jobs"), job(per_index))["spec"]["backoffLimit"], i32::MAX);
    let parallel = create(&def("jobs"), job("parallelism: 3"));
    assert_eq!(parallel["spec"]["completions"], Value::Null);
}

#[test]
fn a_job_with_a_selector_that_somebody_else_made_is_refused() {
    faults(
        "selector: {matchLabels: {a: b}}, template: {metadata: {labels: {job-name: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}",
        &expect![[r#"
            spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"0ab1","batch.kubernetes.io/job-name":"a","controller-uid":"0ab1","job-name":"b"}: must be 'a'
            spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"0ab1"}}: `selector` not auto-generated
            spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"0ab1","batch.kubernetes.io/job-name":"a","controller-uid":"0ab1","job-name":"b"}: `selector` does not match template `labels`
        "#]],
    );
    let own = "manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}";
    let made = create(&def("jobs"), job(own));
    assert_eq!(made["spec"]["template"]["metadata"]["labels"], json!({"a": "b"}));
    faults(
        "manualSelector: true",
        &expect![[r#"
        spec.selector: Required value
    "#]],
    );
}

#[test]
fn all_faults_of_a_job_are_told() {
    faults(
        "parallelism: -1, completions: -1, backoffLimit: -1, activeDeadlineSeconds: -1, ttlSecondsAfterFinished: -1, maxFailedIndexes: 2, managedBy: me, completionMode: Odd, podReplacementPolicy: Never",
        &expect![[r#"
            spec.parallelism: Invalid value: -1: must be greater than or equal to 0
            spec.completions: Invalid value: -1: must be greater than or equal to 0
            spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
            spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0
            spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
            spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")
            spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"
            spec.podReplacementPolicy: Unsupported value: "Never": supported values: "Failed", "TerminatingOrFailed"
        "#]],
    );
    faults(
        "completionMode: Indexed, parallelism: 100001, backoffLimitPerIndex: -1, maxFailedIndexes: 100001",
        &expect![[r#"
            spec.backoffLimitPerIndex: Invalid value: -1: must be greater than or equal to 0
            spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed
            spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000
            spec.completions: Required value: when completion mode is Indexed
        "#]],
    );
    faults(
        "completionMode: Indexed, completions: 100002, parallelism: 10001, backoffLimitPerIndex: 1",
        &expect![[r#"
            spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
            spec.maxFailedIndexes: Required value: must be specified when completions is above 100000
        "#]],
    );
    for policy in ["", "restartPolicy: Always, ", "restartPolicy: Sometimes, "] {
        let template =
            format!("template: {{spec: {{{policy}containers: [{{name: c, image: i}}]}}}}");
        let made = try_create(&def("jobs"), job(&template), &context(&def("jobs")));
        assert!(made.is_err(), "{policy}");
    }
    faults(
        "template: {spec: {containers: [{name: c, image: i}]}}",
        &expect![[r#"
        spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
    "#]],
    );
}

#[test]
fn all_faults_of_a_jobs_policies_are_told() {
    faults(
        "podReplacementPolicy: TerminatingOrFailed, podFailurePolicy: {rules: [{action: Stop}, {action: FailIndex, onExitCodes: {operator: In, values: [2, 0, 2], containerName: d}}, {action: '', onExitCodes: {operator: '', values: []}, onPodConditions: [{type: '', status: Maybe}]}]}",
        &expect![[r#"
            spec.podFailurePolicy.rules[0].action: Unsupported value: "Stop": supported values: "Count", "FailIndex", "FailJob", "Ignore"
            spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
            spec.podFailurePolicy.rules[1].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
            spec.podFailurePolicy.rules[1].onExitCodes.containerName: Invalid value: "d": must be one of the container or initContainer names in the pod template
            spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator
            spec.podFailurePolicy.rules[1].onExitCodes.values[2]: Duplicate value: 2
            spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [2, 0, 2]: must be ordered
            spec.podFailurePolicy.rules[2].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
            spec.podFailurePolicy.rules[2].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]
            spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: []: at least one value is required
            spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: "": name part must be non-empty
            spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.podFailurePolicy.rules[2].onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
            spec.podFailurePolicy.rules[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported
            spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"
        "#]],
    );
    faults(
        "successPolicy: {rules: [{succeededCount: 1}]}",
        &expect![[r#"
        spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode
    "#]],
    );
    faults(
        "completions: 3, completionMode: Indexed, successPolicy: {rules: []}",
        &expect![[r#"
        spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified
    "#]],
    );
    faults(
        "completions: 3, completionMode: Indexed, successPolicy: {rules: [{}, {succeededIndexes: '0-4'}, {succeededIndexes: '0,1', succeededCount: 3}, {succeededCount: 4}]}",
        &expect![[r#"
            spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
            spec.successPolicy.rules[1].succeededIndexes: Invalid value: "0-4": error parsing succeededIndexes: too large index: "4"
            spec.successPolicy.rules[2].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)
            spec.successPolicy.rules[3].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)
        "#]],
    );
}

#[test]
fn the_hosts_of_indexed_pods_have_names() {
    let mut named = job("completions: 100, completionMode: Indexed");
    named["metadata"]["name"] = json!("a".repeat(61));
    let def = def("jobs");
    let error = try_create(&def, named, &context(&def)).unwrap_err();
    assert!(error.to_string().contains("will not able to create pod with invalid DNS label"));
}

/// An update of a Job with this spec and status, by this JSON merged in; what is refused.
fn change(spec: &str, status: Value, field: &str, value: Value) -> Result<(), String> {
    let def = def("jobs");
    let mut old = create(&def, job(spec));
    old["status"] = status;
    let mut new = old.clone();
    let (parent, last) = field.rsplit_once('/').unwrap();
    new.pointer_mut(parent).unwrap()[last] = value;
    update(&def, &old, new).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_running_job_changes_its_parallelism_and_little_else() {
    let refused = |spec: &str, field: &str, value: Value| {
        let error = change(spec, json!({}), field, value).unwrap_err();
        assert!(error.contains("field is immutable"), "{field}: {error}");
    };
    let allowed = |spec: &str, field: &str, value: Value| {
        change(spec, json!({}), field, value).unwrap();
    };
    allowed("completions: 2", "/spec/parallelism", json!(5));
    allowed("completions: 2", "/spec/suspend", json!(true));
    allowed("completions: 2", "/spec/ttlSecondsAfterFinished", json!(5));
    allowed("completions: 2", "/spec/backoffLimit", json!(5));
    refused("completions: 2", "/spec/completions", json!(5));
    refused("completions: 2", "/spec/completionMode", json!("Indexed"));
    refused("completions: 2", "/spec/managedBy", json!("acme.io/jobs"));
    refused("completions: 2", "/spec/template/spec/containers/0/image", json!("j"));
    refused("completions: 2", "/spec/template/spec/nodeSelector", json!({"a": "b"}));
    let indexed = "completions: 2, parallelism: 2, completionMode: Indexed";
    let error = change(indexed, json!({}), "/spec/completions", json!(5)).unwrap_err();
    assert!(error.contains("can only be modified in tandem with spec.parallelism"), "{error}");
}

#[test]
fn a_suspended_job_without_pods_may_be_sent_elsewhere() {
    let selector = || json!({"disk": "ssd"});
    let at = "/spec/template/spec/nodeSelector";
    change("suspend: true", json!({}), at, selector()).unwrap();
    let resources = json!({"requests": {"cpu": "1"}});
    let of = "/spec/template/spec/containers/0/resources";
    change("suspend: true", json!({}), of, resources).unwrap();
    change("suspend: true", json!({"active": 1}), at, selector()).unwrap_err();
    let started = json!({"startTime": "2026-01-01T00:00:00Z"});
    change("suspend: true", started, at, selector()).unwrap_err();
    change("suspend: true", json!({}), "/spec/template/spec/containers/0/image", json!("j"))
        .unwrap_err();
}

fn condition(type_: &str) -> Value {
    json!({"type": type_, "status": "True"})
}

/// Of a status that follows another, what is refused.
fn next_status(spec: &str, old: Value, new: Value, expected: &Expect) {
    let def = def("jobs");
    let mut before = create(&def, job(spec));
    before["status"] = old;
    let mut after = before.clone();
    after["status"] = new;
    match update_status(&def, &before, after) {
        Ok(_) => expected.assert_eq(""),
        Err(error) => told(error.status(), expected),
    }
}

#[test]
fn a_status_says_what_can_be() {
    let start = "2026-01-01T00:00:10Z";
    let done = json!({"startTime": start, "completionTime": "2026-01-01T00:00:20Z", "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]});
    next_status("", json!({}), done.clone(), &expect![[""]]);
    next_status(
        "",
        json!({}),
        json!({"conditions": [condition("Complete"), condition("Failed")], "active": 1, "ready": 2,
            "uncountedTerminatedPods": {"succeeded": ["", "u"], "failed": ["u"]}, "terminating": 1}),
        &expect![[r#"
            status.ready: Invalid value: 2: cannot set more ready pods than active
            status.uncountedTerminatedPods.succeeded[0]: Invalid value: "": must not be empty
            status.uncountedTerminatedPods.failed[0]: Duplicate value: "u"
            status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions
            status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition
            status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
            status.active: Invalid value: 1: active>0 is invalid for finished job
            status.terminating: Invalid value: 1: terminating>0 is invalid for finished job
            status.startTime: Required value: startTime is required for finished job
            status.uncountedTerminatedPods: Invalid value: {"failed":["u"],"succeeded":["","u"]}: must be empty for finished job
            status.completionTime: Required value: completionTime is required for Complete jobs
        "#]],
    );
    next_status(
        "",
        done,
        json!({"startTime": "2026-01-01T00:00:30Z"}),
        &expect![[r#"
        status.startTime: Invalid value: "2026-01-01T00:00:30Z": field is immutable for unsuspended job once set
        status.conditions: Invalid value: cannot disable the terminal Complete=True condition
        status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition
        status.succeeded: Invalid value: 0: cannot decrease the succeeded counter
    "#]],
    );
    next_status(
        "completions: 3, completionMode: Indexed, backoffLimitPerIndex: 1",
        json!({"failed": 2, "succeeded": 2}),
        json!({"failed": 1, "succeeded": 1, "completedIndexes": "0-1", "failedIndexes": "1-3"}),
        &expect![[r#"
            status.failedIndexes: Invalid value: "1-3": error parsing failedIndexes: too large index: "3"
            status.failed: Invalid value: 1: cannot decrease the failed counter
            status.succeeded: Invalid value: 1: cannot decrease the succeeded counter
        "#]],
    );
    next_status(
        "completions: 3, completionMode: Indexed, backoffLimitPerIndex: 1",
        json!({}),
        json!({"completedIndexes": "0,1", "failedIndexes": "1,2"}),
        &expect![[r#"
            status.failedIndexes: Invalid value: "1,2": failedIndexes and completedIndexes overlap at index: 1
        "#]],
    );
    next_status(
        "",
        json!({}),
        json!({"completedIndexes": "0", "failedIndexes": "0"}),
        &expect![[r#"
            status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode
            status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null
            status.failedIndexes: Invalid value: "0": failedIndexes and completedIndexes overlap at index: 0
        "#]],
    );
}

/// The cells that are always shown.
fn row(spec: &str, status: Value) -> Vec<Value> {
    let def = def("jobs");
    let mut job = create(&def, job(spec));
    job["status"] = status;
    def.row(&job, now()).unwrap()[1..4].to_vec()
}

#[test]
fn a_table_tells_how_a_job_is_going() {
    let status = |condition_type: &str| json!({"conditions": [condition(condition_type)]});
    assert_eq!(row("", json!({})), [json!("Running"), json!("0/1"), json!("")]);
    let ended = json!({"startTime": "2026-01-01T00:00:10Z", "completionTime": "2026-01-01T00:00:25Z",
        "succeeded": 3, "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]});
    assert_eq!(row("completions: 3", ended), [json!("Complete"), json!("3/3"), json!("15s")]);
    assert_eq!(row("parallelism: 4", status("FailureTarget"))[..2], ["FailureTarget", "0/1 of 4"]);
    assert_eq!(row("parallelism: 1", status("Suspended"))[..2], ["Suspended", "0/1"]);
    let running = row("", json!({"startTime": "2026-01-01T00:58:00Z"}));
    assert_eq!(running[2], "2m");
}
