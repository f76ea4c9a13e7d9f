//! Of which faults of policies and of their bindings a client is told.

use serde_json::json;

use crate::{context, def, try_create, yaml};

/// Each of these fields has a fault that says this.
#[track_caller]
fn faults(plural: &str, given: &str, expected: &[(&str, &str)]) {
    let def = def(plural);
    let error = try_create(&def, yaml(given), &context(&def)).unwrap_err();
    let causes = error.status().details.as_ref().unwrap().causes.as_ref().unwrap();
    for (field, part) in expected {
        let found = causes.iter().any(|cause| {
            let message = cause.message.as_deref().unwrap_or_default();
            cause.field.as_deref() == Some(*field) && message.contains(part)
        });
        assert!(found, "{field}: {part}: {error}");
    }
}

#[test]
fn a_policy_is_completed() {
    let def = def("validatingadmissionpolicies");
    let given = "
metadata: {name: a}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [pods]}]
  validations: [{expression: 'true'}]
";
    let made = try_create(&def, yaml(given), &context(&def)).unwrap();
    assert_eq!(made["spec"]["failurePolicy"], "Fail");
    let constraints = &made["spec"]["matchConstraints"];
    assert_eq!(constraints["matchPolicy"], "Equivalent");
    assert_eq!(constraints["resourceRules"][0]["scope"], "*");
    assert_eq!(constraints["namespaceSelector"], json!({}));
    assert_eq!(constraints["objectSelector"], json!({}));
}

#[test]
fn all_faults_of_a_validating_policy_are_told() {
    let given = "
metadata: {name: a}
spec:
  failurePolicy: Perhaps
  paramKind: {apiVersion: a/b/c, kind: ''}
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [LOOK], resources: [pods], resourceNames: [a, a, b/c]}
    objectSelector: {matchExpressions: [{key: a, operator: Like}]}
  matchConditions: [{name: a, expression: params.x}]
  variables:
  - {name: in, expression: '1'}
  - {name: ok, expression: object.x +}
  validations:
  - {expression: variables.ok && variables.nope, messageExpression: '1', message: ' ', reason: Whim}
  - {expression: ' ', messageExpression: authorizer.path('/x').check('get').reason()}
  auditAnnotations:
  - {key: a/b, valueExpression: '1'}
  - {key: c, valueExpression: ''}
  - {key: c, valueExpression: 'null'}
";
    let expected = [
        ("spec.failurePolicy", "Unsupported value: \"Perhaps\""),
        ("spec.paramKind.apiVersion", "unexpected GroupVersion string: a/b/c"),
        ("spec.paramKind.kind", "Required value"),
        ("spec.matchConstraints.resourceRules[0].resourceNames[1]", "Duplicate value: \"a\""),
        ("spec.matchConstraints.resourceRules[0].resourceNames[2]", "Invalid value: \"b/c\""),
        ("spec.matchConstraints.resourceRules[0].operations[0]", "Unsupported value: \"LOOK\""),
        ("spec.matchConstraints.objectSelector.matchExpressions[0].operator", "Like"),
        ("spec.matchConditions[0].expression", "must evaluate to bool but got dyn"),
        ("spec.variables[0].name", "must be a valid CEL identifier"),
        ("spec.variables[1].expression", "compilation failed: ERROR: <input>:1:"),
        ("spec.validations[0].expression", "undefined field 'nope'"),
        ("spec.validations[0].messageExpression", "must evaluate to string but got int"),
        ("spec.validations[0].message", "must be non-empty if specified"),
        ("spec.validations[0].reason", "Unsupported value: \"Whim\""),
        ("spec.validations[1].expression", "expression is not specified"),
        ("spec.validations[1].messageExpression", "undeclared reference to 'authorizer'"),
        (
            "spec.auditAnnotations[0].valueExpression",
            "must evaluate to one of [string null] but got int",
        ),
        ("spec.auditAnnotations[1].valueExpression", "valueExpression is not specified"),
        ("spec.auditAnnotations[2].key", "Duplicate value: \"c\""),
    ];
    faults("validatingadmissionpolicies", given, &expected);
    let expected = [
        ("spec.matchConstraints", "Required value"),
        ("spec.validations", "must contain at least one item"),
        ("spec.auditAnnotations", "must contain at least one item"),
    ];
    faults("validatingadmissionpolicies", "{metadata: {name: a}, spec: {}}", &expected);
}

#[test]
fn all_faults_of_a_mutating_policy_are_told() {
    let given = "
metadata: {name: a}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [DELETE], resources: [pods]}]
  mutations:
  - {patchType: Merge}
  - {patchType: JSONPatch, applyConfiguration: {expression: 'Object{}'}}
  - {patchType: JSONPatch, jsonPatch: {expression: 'Object{}'}}
  - {patchType: ApplyConfiguration, applyConfiguration: {expression: 'Objekt{}'}}
";
    let expected = [
        ("spec.matchConstraints.resourceRules.operations", "Unsupported value: \"DELETE\""),
        ("spec.mutations[0].patchType", "Unsupported value: \"Merge\""),
        (
            "spec.mutations[1].applyConfiguration",
            "must not be specified when patchType is JSONPatch",
        ),
        ("spec.mutations[1].jsonPatch", "must be specified when patchType is JSONPatch"),
        (
            "spec.mutations[2].jsonPatch.expression",
            "must evaluate to list(JSONPatch) but got Object",
        ),
        ("spec.mutations[3].applyConfiguration.expression", "undeclared reference to 'Objekt'"),
        ("spec.reinvocationPolicy", "Required value"),
    ];
    faults("mutatingadmissionpolicies", given, &expected);
}

#[test]
fn all_faults_of_bindings_are_told() {
    let given = "
metadata: {name: a}
spec:
  policyName: UPPER
  validationActions: [Deny, Warn, Deny, Sing]
  paramRef: {name: a/b, selector: {}}
  matchResources: {matchPolicy: Roughly}
";
    let expected = [
        ("spec.policyName", "Invalid value: \"UPPER\""),
        ("spec.validationActions[2]", "Duplicate value: \"Deny\""),
        ("spec.validationActions[3]", "Unsupported value: \"Sing\""),
        ("spec.validationActions", "must not contain both Deny and Warn"),
        ("spec.paramRef.name", "name and selector are mutually exclusive"),
        ("spec.paramRef.selector", "name and selector are mutually exclusive"),
        ("spec.paramRef.parameterNotFoundAction", "Required value"),
        ("spec.matchResources.matchPolicy", "Unsupported value: \"Roughly\""),
    ];
    faults("validatingadmissionpolicybindings", given, &expected);
    let given = "{metadata: {name: a}, spec: {paramRef: {parameterNotFoundAction: Ask}}}";
    let expected = [
        ("spec.policyName", "Required value"),
        ("spec.paramRef", "one of name or selector must be specified"),
        ("spec.paramRef.parameterNotFoundAction", "Unsupported value: \"Ask\""),
    ];
    faults("mutatingadmissionpolicybindings", given, &expected);
}
