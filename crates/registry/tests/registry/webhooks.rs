//! What a configuration of webhooks is completed to, and of which faults a client is told.

use expect_test::expect;

use crate::{context, def, try_create, yaml};

#[test]
fn a_webhook_is_completed() {
    let def = def("mutatingwebhookconfigurations");
    let given = "
metadata: {name: a}
webhooks:
- name: a.example.com
  clientConfig: {service: {name: s, namespace: n}}
  rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  admissionReviewVersions: [v1]
  sideEffects: None
";
    let made = try_create(&def, yaml(given), &context(&def)).unwrap();
    let hook = &made["webhooks"][0];
    expect![[r#"{"admissionReviewVersions":["v1"],"clientConfig":{"service":{"name":"s","namespace":"n","port":443}},"failurePolicy":"Fail","matchPolicy":"Equivalent","name":"a.example.com","namespaceSelector":{},"objectSelector":{},"reinvocationPolicy":"Never","rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"],"scope":"*"}],"sideEffects":"None","timeoutSeconds":10}"#]]
    .assert_eq(&hook.to_string());
}

#[test]
fn all_faults_of_a_webhook_are_told() {
    let def = def("validatingwebhookconfigurations");
    let given = "
metadata: {name: a}
webhooks:
- name: short
  clientConfig: {url: 'http://me@host/path?a=b#c'}
  rules:
  - {apiGroups: ['*', apps], apiVersions: [], operations: [WRITE], resources: ['*/*', pods], scope: Some}
  admissionReviewVersions: [v9]
  sideEffects: Some
  failurePolicy: Never
  matchPolicy: Roughly
  timeoutSeconds: 31
  matchConditions:
  - {name: a, expression: request.userInfo.username != object.x && object.spec.x > 1}
  - {name: a, expression: '1'}
  - {name: '', expression: ''}
- name: b.example.com
  clientConfig: {service: {name: '', namespace: n, port: 0, path: no/slash}}
  sideEffects: None
  admissionReviewVersions: [v1]
- name: b.example.com
  clientConfig: {}
  sideEffects: None
  admissionReviewVersions: [v1]
  namespaceSelector: {matchExpressions: [{key: a, operator: Like}]}
";
    let error = try_create(&def, yaml(given), &context(&def)).unwrap_err();
    let causes = error.status().details.as_ref().unwrap().causes.as_ref().unwrap();
    let lines = causes.iter().map(|cause| {
        let (field, message) = (cause.field.as_deref(), cause.message.as_deref());
        format!("{}: {}\n", field.unwrap_or_default(), message.unwrap_or_default())
    });
    expect![[r#"
        webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots
        webhooks[0].rules[0].operations[0]: Unsupported value: "WRITE": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
        webhooks[0].rules[0].apiGroups: Invalid value: ["*","apps"]: if '*' is present, must not specify other API groups
        webhooks[0].rules[0].apiVersions: Required value
        webhooks[0].rules[0].resources: Invalid value: ["*/*","pods"]: if '*/*' is present, must not specify other resources
        webhooks[0].rules[0].scope: Unsupported value: "Some": supported values: "*", "Cluster", "Namespaced"
        webhooks[0].failurePolicy: Unsupported value: "Never": supported values: "Fail", "Ignore"
        webhooks[0].matchPolicy: Unsupported value: "Roughly": supported values: "Equivalent", "Exact"
        webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"
        webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds
        webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
        webhooks[0].clientConfig.url: Invalid value: "me": user information is not permitted in the URL; desired format: https://host[/path]
        webhooks[0].clientConfig.url: Invalid value: "c": fragments are not permitted in the URL; desired format: https://host[/path]
        webhooks[0].clientConfig.url: Invalid value: "a=b": query parameters are not permitted in the URL; desired format: https://host[/path]
        webhooks[0].admissionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1
        webhooks[0].matchConditions[1].expression: Invalid value: "1": must evaluate to bool but got int
        webhooks[0].matchConditions[1].name: Duplicate value: "a"
        webhooks[0].matchConditions[2].expression: Required value
        webhooks[0].matchConditions[2].name: Required value
        webhooks[1].clientConfig.service.name: Required value: service name is required
        webhooks[1].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive
        webhooks[1].clientConfig.service.path: Invalid value: "no/slash": must start with a '/'
        webhooks[2].namespaceSelector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator
        webhooks[2].clientConfig: Required value: exactly one of url or service is required
        webhooks[2].name: Duplicate value: "b.example.com"
    "#]].assert_eq(&lines.collect::<String>());
}
