//! Autoscalers: what goes without saying, which are refused, how tables show them, and what the first version of the
//! group makes of the second.

use expect_test::{Expect, expect};
use registry::ResourceDef;
use serde_json::{Value, json};

use crate::{context, create, def, now, try_create, update, update_status, yaml};

const PLURAL: &str = "horizontalpodautoscalers";

fn v1() -> ResourceDef {
    let is_it = |d: &ResourceDef| d.names.plural == PLURAL && d.names.version == "v1";
    registry::all().into_iter().find(is_it).unwrap()
}

fn with(spec: &str) -> Value {
    yaml(&format!(
        "{{metadata: {{name: a}}, spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: ReplicaSet, name: web}}, {spec}}}}}"
    ))
}

fn check(spec: &str, expected: &Expect) {
    let def = def(PLURAL);
    let error = try_create(&def, with(spec), &context(&def)).unwrap_err();
    let causes = error.status().details.as_ref().unwrap().causes.clone().unwrap_or_default();
    let line = |cause: &api_types::meta::StatusCause| {
        format!("{}: {}\n", cause.field.as_ref().unwrap(), cause.message.as_ref().unwrap())
    };
    expected.assert_eq(&causes.iter().map(line).collect::<String>());
}

#[test]
fn what_goes_without_saying_is_said() {
    let spec = create(&def(PLURAL), with("maxReplicas: 3, behavior: {}"))["spec"].take();
    assert_eq!(spec["minReplicas"], 1);
    assert_eq!(spec["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(
        spec["behavior"],
        json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15}]},
            "scaleDown": {"selectPolicy": "Max", "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15}]},
        })
    );
    let plain = create(&def(PLURAL), with("maxReplicas: 3"));
    assert!(plain["spec"].get("behavior").is_none());
    let old = create(&v1(), with("maxReplicas: 3"));
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 80);
}

#[test]
fn numbers_of_pods_that_make_no_sense_are_refused() {
    check(
        "minReplicas: 0",
        &expect![[r#"
            spec.minReplicas: Invalid value: 0: must be greater than or equal to 1
            spec.maxReplicas: Required value: must be set and greater than 0
        "#]],
    );
    check(
        "minReplicas: 5, maxReplicas: 4",
        &expect![[r#"
            spec.maxReplicas: Invalid value: 4: must be greater than or equal to `minReplicas`
        "#]],
    );
}

#[test]
fn targets_without_a_group_are_refused() {
    check(
        "maxReplicas: 4, scaleTargetRef: {kind: a/b, apiVersion: v1}",
        &expect![[r#"
            spec.scaleTargetRef.kind: Invalid value: "a/b": may not contain '/'
            spec.scaleTargetRef.name: Required value
            spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group
        "#]],
    );
}

#[test]
fn metrics_that_say_too_little_or_too_much_are_refused() {
    check(
        "maxReplicas: 4, metrics: [{}, {type: Pods}, {type: Resource, resource: {name: cpu, target: {}}},
           {type: Pods, pods: {metric: {name: x}, target: {type: AverageValue, averageValue: '0'}}, resource: {}},
           {type: External, external: {metric: {name: a%b}, target: {type: Value, value: 1, averageValue: 1}}},
           {type: ContainerResource, containerResource: {name: gpu, container: A, target: {type: Utilization, averageUtilization: 0}}},
           {type: Object, object: {metric: {}, describedObject: {kind: Service, name: web}, target: {type: Value}}}]",
        &expect![[r#"
            spec.metrics[0].type: Required value: must specify a metric source type
            spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[1].pods: Required value: must populate information for the given metric source
            spec.metrics[2].resource.target.type: Required value: must specify a metric target type
            spec.metrics[2].resource.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue
            spec.metrics[2].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
            spec.metrics[3].pods.target.averageValue: Invalid value: "0": must be positive
            spec.metrics[3].resource: Forbidden: must populate the given metric source only
            spec.metrics[4].external.metric.name: Invalid value: "a%b": may not contain '%'
            spec.metrics[4].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target
            spec.metrics[5].containerResource.name: Invalid value: "gpu": must be a standard resource type or fully qualified
            spec.metrics[5].containerResource.name: Invalid value: "gpu": must be a standard resource for containers
            spec.metrics[5].containerResource.container: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.metrics[5].containerResource.target.averageUtilization: Invalid value: 0: must be greater than 0
            spec.metrics[6].object.metric.name: Required value: must specify a metric name
            spec.metrics[6].object.target.averageValue: Required value: must set either a target value or averageValue
        "#]],
    );
}

#[test]
fn behaviour_that_cannot_be_followed_is_refused() {
    check(
        "maxReplicas: 4, behavior: {scaleUp: {stabilizationWindowSeconds: 3601, selectPolicy: Best, tolerance: '-1',
           policies: [{type: Pods, value: 0, periodSeconds: 1801}]},
           scaleDown: {stabilizationWindowSeconds: -1, policies: []}}",
        &expect![[r#"
            spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600
            spec.behavior.scaleUp.selectPolicy: Unsupported value: "Best": supported values: "Disabled", "Max", "Min"
            spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800
            spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0
            spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero
            spec.behavior.scaleDown.policies: Required value: must specify at least one Policy
        "#]],
    );
}

/// Of every source, with what is known of it now.
const FULL: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: ReplicaSet, name: web}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - {type: Pods, pods: {metric: {name: calls, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: '5'}}}
  - {type: Object, object: {describedObject: {kind: Service, name: web}, metric: {name: queue}, target: {type: Value, value: 1k}}}
  - {type: External, external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 500m}}}
  - {type: ContainerResource, containerResource: {name: memory, container: c, target: {type: Utilization, averageUtilization: 70}}}
  - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 64Mi}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Pods, value: 1, periodSeconds: 10}]}
    scaleDown: {selectPolicy: Max, policies: [{type: Percent, value: 100, periodSeconds: 15}]}
status:
  currentReplicas: 2
  desiredReplicas: 3
  conditions: [{type: AbleToScale, status: 'True', reason: ReadyForNewScale}]
  currentMetrics:
  - {type: Pods, pods: {metric: {name: calls, selector: {matchLabels: {a: b}}}, current: {averageValue: '7'}}}
  - {type: Object, object: {describedObject: {kind: Service, name: web}, metric: {name: queue}, current: {value: 2k}}}
  - {type: External, external: {metric: {name: jobs}, current: {averageValue: '1'}}}
  - {type: ContainerResource, containerResource: {name: memory, container: c, current: {averageUtilization: 60, averageValue: 6Mi}}}
  - {type: Resource, resource: {name: memory, current: {averageValue: 32Mi}}}
  - {type: Resource, resource: {name: cpu, current: {averageUtilization: 45, averageValue: 90m}}}
";

#[test]
fn what_the_first_version_cannot_show_is_in_its_annotations() {
    let stored = yaml(FULL);
    let served = v1().to_served(stored.clone()).unwrap();
    assert_eq!(served["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(served["status"]["currentCPUUtilizationPercentage"], 45);
    assert!(
        served["spec"].get("metrics").is_none() && served["status"].get("conditions").is_none()
    );
    let annotation = |name: &str| -> Value {
        let key = format!("autoscaling.alpha.kubernetes.io/{name}");
        serde_json::from_str(served["metadata"]["annotations"][key].as_str().unwrap()).unwrap()
    };
    assert_eq!(
        annotation("metrics").as_array().unwrap()[..4],
        [
            json!({"type": "Pods", "pods": {"metricName": "calls", "selector": {"matchLabels": {"a": "b"}}, "targetAverageValue": "5"}}),
            json!({"type": "Object", "object": {"target": {"kind": "Service", "name": "web"}, "metricName": "queue", "targetValue": "1k"}}),
            json!({"type": "External", "external": {"metricName": "jobs", "targetAverageValue": "500m"}}),
            json!({"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c", "targetAverageUtilization": 70}}),
        ]
    );
    assert_eq!(annotation("behavior")["ScaleUp"]["Policies"][0]["PeriodSeconds"], 10);
    assert_eq!(annotation("conditions"), stored["status"]["conditions"]);
    assert_eq!(annotation("current-metrics")[5]["resource"]["currentAverageValue"], "90m");
    assert_eq!(v1().to_stored(served).unwrap(), stored);
}

#[test]
fn the_first_version_s_annotations_are_what_they_stand_for() {
    let v1 = v1();
    let mut old = v1.to_served(yaml(FULL)).unwrap();
    old["apiVersion"] = json!("autoscaling/v1");
    old["metadata"]["uid"] = json!("0ab1");
    let metrics = "autoscaling.alpha.kubernetes.io/metrics";
    let current = "autoscaling.alpha.kubernetes.io/current-metrics";
    let mut changed = old.clone();
    changed["metadata"]["annotations"][metrics] = json!("[{\"type\": \"Pods\"}]");
    let error = update(&v1, &old, changed).unwrap_err().to_string();
    assert!(error.contains("spec.metrics[0].pods: Required value"), "{error}");
    let mut changed = old.clone();
    changed["metadata"].as_object_mut().unwrap().remove("annotations");
    let written = update(&v1, &old, changed.clone()).unwrap();
    let annotations = &written["metadata"]["annotations"];
    assert_eq!(annotations[current], old["metadata"]["annotations"][current]);
    assert!(annotations.get(metrics).is_none());
    let written = update_status(&v1, &old, changed).unwrap();
    let annotations = &written["metadata"]["annotations"];
    assert_eq!(annotations[metrics], old["metadata"]["annotations"][metrics]);
    assert!(annotations.get(current).is_none());
    let mut new = yaml(FULL);
    new["metadata"]["annotations"] = json!({metrics: "[]", "other": "stays"});
    let created = create(&def(PLURAL), new);
    assert_eq!(created["metadata"]["annotations"], json!({"other": "stays"}));
}

#[test]
fn behaviour_of_one_direction_in_the_first_version_leaves_the_other_what_it_is_without_saying() {
    let of = |behavior: &str| {
        let mut old = v1().to_served(yaml(FULL)).unwrap();
        let key = "autoscaling.alpha.kubernetes.io/behavior";
        old["metadata"]["annotations"][key] = json!(behavior);
        v1().to_stored(old).unwrap()["spec"]["behavior"].take()
    };
    let down = json!({"selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
    assert_eq!(of(r#"{"ScaleUp": {"SelectPolicy": "Max"}}"#)["scaleDown"], down);
    assert_eq!(of(r#"{"ScaleUp": null}"#)["scaleDown"], down);
    let up = of(r#"{"ScaleDown": {"StabilizationWindowSeconds": 3}}"#)["scaleUp"].take();
    assert_eq!(up["policies"][1]["value"], 100);
}

#[test]
fn tables_show_what_there_is_beside_what_is_wanted() {
    let targets = |object: &Value| def(PLURAL).row(object, now()).unwrap()[2].clone();
    let full = yaml(FULL);
    assert_eq!(targets(&full), "7/5, 2k/1k + 4 more...");
    let mut old = v1().to_served(full.clone()).unwrap();
    old["apiVersion"] = json!("autoscaling/v1");
    let cells = v1().row(&old, now()).unwrap();
    assert_eq!(cells[2..6], [json!("7/5, 2k/1k + 4 more..."), json!("1"), json!(4), json!(2)]);
    let one = |i: usize, is_known: bool| {
        let mut object = full.clone();
        object["spec"]["metrics"] = json!([full["spec"]["metrics"][i]]);
        let current =
            if is_known { json!([full["status"]["currentMetrics"][i]]) } else { json!([]) };
        object["status"]["currentMetrics"] = current;
        targets(&object).as_str().unwrap().to_owned()
    };
    let all = [
        ("7/5", "<unknown>/5"),
        ("2k/1k", "<unknown>/1k"),
        ("1/500m (avg)", "<unknown>/500m (avg)"),
        ("memory: 60%/70%", "memory: <unknown>/70%"),
        ("memory: 32Mi/64Mi", "memory: <unknown>/64Mi"),
        ("cpu: 45%/50%", "cpu: <unknown>/50%"),
    ];
    for (i, (known, unknown)) in all.into_iter().enumerate() {
        assert_eq!((one(i, true).as_str(), one(i, false).as_str()), (known, unknown));
    }
}
