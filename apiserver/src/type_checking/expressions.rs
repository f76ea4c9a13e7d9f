//! What is wrong with a policy's expressions, by the schemas of the kinds that it is for (Kubernetes:
//! `admission/plugin/policy/validating/typechecking.go`). Pure.

use std::collections::BTreeMap;

use api_types::api::admissionregistration::v1::{
    ExpressionWarning, NamedRuleWithOperations, ValidatingAdmissionPolicy, Variable,
};
use expressions::{Environment, Type};
use registry::{Composition, ResourceDef, admission_expression::Given, object_type};

use crate::{catalogue::Catalogue, openapi};

/// As many kinds are looked at.
const MOST_KINDS: usize = 10;

/// A kind that a policy is for.
struct Checked {
    /// As it is told: `apps/v1, Kind=Deployment`.
    name: String,
    environment: Environment,
}

/// Of a policy, by the kinds that there are. Of what can be any kind nothing is known, and nothing told.
pub(super) fn warnings(
    policy: &ValidatingAdmissionPolicy,
    catalogue: &Catalogue,
) -> Vec<ExpressionWarning> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let rules = spec.match_constraints.iter().flat_map(|it| it.resource_rules.iter().flatten());
    let kind = spec.param_kind.as_ref();
    let params = kind.and_then(|kind| {
        let (version, name) = (kind.api_version.as_deref()?, kind.kind.as_deref()?);
        catalogue.served().find(|def| def.api_version() == version && *def.names.kind == *name)
    });
    let params = params.and_then(|def| type_of(def));
    let given = Given { params: kind.is_some(), authorizer: true, ..Given::default() };
    let variables = spec.variables.as_deref().unwrap_or_default();
    let of_kind = |def: &ResourceDef| Checked::of(def, params.as_ref(), given, variables);
    let checked: Vec<_> = kinds(rules, catalogue).into_iter().filter_map(of_kind).collect();
    let mut found = Vec::new();
    let mut check = |index: usize, field: &str, source: &str| {
        found.extend(faults(&checked, source).map(|warning| ExpressionWarning {
            field_ref: format!("spec.validations[{index}].{field}"),
            warning,
        }));
    };
    for (index, validation) in spec.validations.iter().flatten().enumerate() {
        check(index, "expression", &validation.expression);
        let message = validation.message_expression.as_deref().unwrap_or_default();
        if !message.is_empty() {
            check(index, "messageExpression", message);
        }
    }
    found
}

impl Checked {
    fn of(
        def: &ResourceDef,
        params: Option<&Type>,
        given: Given,
        variables: &[Variable],
    ) -> Option<Self> {
        let object = type_of(def)?;
        let mut known = vec![("object", object.clone()), ("oldObject", object)];
        known.extend(params.map(|params| ("params", params.clone())));
        let mut composition = Composition::knowing(known);
        for variable in variables {
            // What is wrong with it is not told of, and whoever uses it may.
            let _ = composition.add(variable, given);
        }
        let names = &def.names;
        let name = format!("{}/{}, Kind={}", names.group, names.version, names.kind);
        Some(Self { name, environment: composition.environment(given) })
    }
}

fn type_of(def: &ResourceDef) -> Option<Type> {
    object_type(&openapi::whole_schema(def))
}

/// What is wrong with an expression, for each kind.
fn faults(kinds: &[Checked], source: &str) -> Option<String> {
    let faults = kinds.iter().filter_map(|kind| {
        let why = kind.environment.compile(source).err()?;
        Some(format!("{}: {why}\n", kind.name))
    });
    let faults: Vec<_> = faults.collect();
    (!faults.is_empty()).then(|| faults.join("\n"))
}

/// The kinds that rules name, as far as these say which, by group, version and kind.
fn kinds<'a>(
    rules: impl Iterator<Item = &'a NamedRuleWithOperations>,
    catalogue: &Catalogue,
) -> Vec<&ResourceDef> {
    let mut found = BTreeMap::new();
    for rule in rules {
        let [groups, versions] = [&rule.api_groups, &rule.api_versions].map(sorted);
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        let mut plurals = sorted(&rule.resources);
        plurals.retain(|plural| !plural.contains(['*', '/']));
        let pairs = groups.iter().flat_map(|group| versions.iter().map(move |it| (group, it)));
        let all = pairs.flat_map(|(group, version)| {
            plurals.iter().filter_map(move |plural| catalogue.find(group, version, plural))
        });
        let all: Vec<_> = all.take(MOST_KINDS).collect();
        let is_enough = all.len() == MOST_KINDS;
        found.extend(all.into_iter().map(|def| {
            let names = &def.names;
            ((&names.group, &names.version, &names.kind), &**def)
        }));
        if is_enough {
            break;
        }
    }
    found.into_values().collect()
}

fn sorted(names: &Option<Vec<String>>) -> Vec<&str> {
    let mut names: Vec<_> = names.iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn for_deployments() -> Value {
        json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["*"]}])
    }

    fn found(mut spec: Value, rules: &Value) -> Vec<(String, String)> {
        spec["matchConstraints"] = json!({ "resourceRules": rules });
        let policy =
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        let found = warnings(&policy, &Catalogue::built_in()).into_iter();
        found.map(|it| (it.field_ref, it.warning)).collect()
    }

    /// What is said of an expression about deployments, but for where it is and for its text.
    #[track_caller]
    fn check(expression: &str, expected: Option<&str>) {
        let spec = json!({"validations": [{"expression": expression}]});
        let found = found(spec, &for_deployments());
        let said = found.first().map(|(_, warning)| warning.lines().next().unwrap());
        let expected =
            expected.map(|why| format!("apps/v1, Kind=Deployment: ERROR: <input>:{why}"));
        assert_eq!(said, expected.as_deref(), "{expression}");
    }

    #[test]
    fn fields_are_those_of_the_kind() {
        check("object.spec.replicas > 1", None);
        check("object.replicas > 1", Some("1:7: undefined field 'replicas'"));
        check("has(object.spec.foo)", Some("1:4: undefined field 'foo'"));
        check("oldObject.spec.paused && object.kind == 'Deployment'", None);
        check(
            "object.metadata.managedFields[0].fieldsV1.x == 1",
            Some("1:42: undefined field 'x'"),
        );
        check("request.nope == 'a'", Some("1:8: undefined field 'nope'"));
        check("namespaceObject.metadata.labels.a == 'b'", None);
    }

    #[test]
    fn values_have_the_types_of_the_kind() {
        check(
            "object.spec.replicas > '1'",
            Some("1:22: found no matching overload for '_>_' applied to '(int, string)'"),
        );
        check(
            "object.status.conditions[0].lastTransitionTime == 'a'",
            Some("1:48: found no matching overload for '_==_' applied to '(timestamp, string)'"),
        );
        check(
            "object.spec.template.metadata.annotations['a'] == 1",
            Some("1:48: found no matching overload for '_==_' applied to '(string, int)'"),
        );
        check("object.metadata.creationTimestamp > timestamp('2020-01-01T00:00:00Z')", None);
        // What may be either is known when it is there.
        check("object.spec.strategy.rollingUpdate.maxSurge == 1", None);
        check("object.spec.template.spec.containers[0].livenessProbe.httpGet.port == 'web'", None);
        check("object.spec.template.spec.containers.all(c, c.resources.limits.cpu != '')", None);
        check("authorizer.requestResource.check('create').allowed()", None);
    }

    #[test]
    fn each_kind_is_told_of() {
        let rules = json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
            "resources": ["secrets", "configmaps/status", "*", "configmaps"],
        }]);
        let spec = json!({"validations": [
            {"expression": "object.data['a'] == 'b'"}, {"expression": "object.foo == 1"},
        ]});
        let place =
            |column: usize, text: &str| format!(" | {text}\n | {}^\n", ".".repeat(column - 1));
        let (data, foo) = (place(18, "object.data['a'] == 'b'"), place(7, "object.foo == 1"));
        let field = |index: u32| format!("spec.validations[{index}].expression");
        let expected = [
            (
                field(0),
                format!(
                    "/v1, Kind=Secret: ERROR: <input>:1:18: found no matching overload for '_==_' applied to '(bytes, string)'\n{data}"
                ),
            ),
            (
                field(1),
                format!(
                    "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'foo'\n{foo}\n/v1, Kind=Secret: ERROR: <input>:1:7: undefined field 'foo'\n{foo}"
                ),
            ),
        ];
        assert_eq!(found(spec, &rules), expected);
    }

    #[test]
    fn variables_and_parameters_have_types_and_messages_are_looked_at() {
        let spec = json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [
                {"name": "r", "expression": "object.spec.replicas"},
                {"name": "wrong", "expression": "object.spec.nope"},
            ],
            "validations": [
                {"expression": "variables.r.x == 1", "messageExpression": "object.spec.nope + 1"},
                {"expression": "variables.wrong == 1"},
                {"expression": "params.nope == 1"},
            ],
        });
        let places: Vec<_> =
            found(spec, &for_deployments()).into_iter().map(|(at, _)| at).collect();
        let expected = [
            "spec.validations[0].expression",
            "spec.validations[0].messageExpression",
            "spec.validations[2].expression",
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn of_what_may_be_any_kind_or_is_none_nothing_is_told() {
        let spec = json!({"validations": [{"expression": "object.foo"}]});
        let rules = |group: &str, version: &str, plural: &str| json!([{"apiGroups": [group], "apiVersions": [version], "resources": [plural], "operations": ["*"]}]);
        for rules in [
            rules("*", "v1", "deployments"),
            rules("apps", "*", "deployments"),
            rules("apps", "v1", "*"),
            rules("apps", "v1", "nopes"),
        ] {
            assert_eq!(found(spec.clone(), &rules), [], "{rules}");
        }
    }

    #[test]
    fn what_is_within_itself_is_known_once() {
        let rules = json!([{
            "apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["v1"], "operations": ["*"],
            "resources": ["customresourcedefinitions"],
        }]);
        let of = |field: &str| {
            let expression =
                format!("object.spec.versions[0].schema.openAPIV3Schema.{field} == 'a'");
            found(json!({"validations": [{"expression": expression}]}), &rules).len()
        };
        assert_eq!(of("title"), 0);
        assert_eq!(of("titles"), 1);
    }
}
