//! CronJobs: what they have where nothing is said, their faults, their table.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{context, create, def, now, try_create, yaml};

/// A CronJob of this spec, beside its template.
fn cron_job(name: &str, spec: &str) -> Value {
    let mut made = yaml(&format!("{{metadata: {{name: {name}}}, spec: {{{spec}}}}}"));
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let template = &mut made["spec"]["jobTemplate"]["spec"]["template"];
    *template = json!({"spec": pod});
    made
}

/// The paths and messages of the faults.
fn faults(cron_job: Value) -> String {
    let def = def("cronjobs");
    let error = try_create(&def, cron_job, &context(&def)).unwrap_err();
    let causes = error.status().details.iter().flat_map(|it| it.causes.iter().flatten());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    causes.map(|cause| format!("{}: {}\n", text(&cause.field), text(&cause.message))).collect()
}

#[test]
fn a_cron_job_has_what_it_does_not_say() {
    let made = create(&def("cronjobs"), cron_job("a", "schedule: '@daily'"));
    let spec = &made["spec"];
    let said =
        ["concurrencyPolicy", "suspend", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    assert_eq!(json!(said.map(|field| spec[field].clone())), json!(["Allow", false, 3, 1]));
    let job = &spec["jobTemplate"]["spec"];
    assert_eq!(job["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!((&job["completions"], &job["selector"]), (&Value::Null, &Value::Null));
}

#[test]
fn all_faults_of_a_cron_job_are_told() {
    let spec = "schedule: error, timeZone: Mars/Olympus, startingDeadlineSeconds: -1, concurrencyPolicy: Maybe, successfulJobsHistoryLimit: -1, failedJobsHistoryLimit: -1, jobTemplate: {spec: {selector: {matchLabels: {a: b}}, manualSelector: true, backoffLimit: -1}}";
    let told = faults(cron_job(&"a".repeat(53), spec));
    expect![[r#"
        spec.schedule: Invalid value: "error": expected exactly 5 fields, found 1: [error]
        spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus
        spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"
        spec.jobTemplate.spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
        spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated
        spec.jobTemplate.spec.manualSelector: Unsupported value: "true": supported values: "nil", "false"
        spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 52 characters
    "#]].assert_eq(&told);
    expect![[r#"
        spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
    "#]].assert_eq(&faults(cron_job("a", "schedule: 'TZ=UTC 0 * * * *'")));
    expect![[r#"
        spec.schedule: Required value
    "#]]
    .assert_eq(&faults(cron_job("a", "schedule: ''")));
    expect![[r#"
        spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones
    "#]].assert_eq(&faults(cron_job("a", "schedule: '@daily', timeZone: Local")));
}

#[test]
fn a_table_tells_when_it_was_last_due() {
    let def = def("cronjobs");
    let mut made = create(&def, cron_job("a", "schedule: '@daily', timeZone: Europe/Berlin"));
    made["status"] = json!({"lastScheduleTime": "2026-01-01T00:30:00Z", "active": [{"name": "b"}]});
    let row = json!(def.row(&made, now()).unwrap());
    assert_eq!(
        row,
        json!(["a", "@daily", "Europe/Berlin", "False", 1, "30m", "60m", "c", "i", "<none>"])
    );
}
