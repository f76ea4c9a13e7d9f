//! Definitions of kinds that come from data: their defaults, and their faults in Kubernetes' words.

use serde_json::{Value, json};

use crate::{context, create, def, example, try_create, update};

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
/// Where the faults of a schema are told of that is that of all versions.
const PATH: &str = "spec.validation.openAPIV3Schema";

/// The faults of the example with a change.
fn faults(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let kind = def("customresourcedefinitions");
    let mut given = example(&kind);
    change(&mut given);
    let Err(error) = try_create(&kind, given, &context(&kind)) else { return Vec::new() };
    let causes = error.status().details.clone().unwrap().causes.unwrap();
    let told = causes.into_iter().map(|c| format!("{}: {}", c.field.unwrap(), c.message.unwrap()));
    told.collect()
}

/// The faults with something else at a place.
fn check(place: &str, value: &Value, expected: &[&str]) {
    let found = faults(|given| {
        let (parent, name) = place.rsplit_once('/').unwrap();
        given.pointer_mut(parent).unwrap()[name] = value.clone();
    });
    assert_eq!(found, expected, "{place} = {value}");
}

/// The faults of a schema for the spec, below its path.
fn check_schema(schema: &Value, expected: &[&str]) {
    let expected: Vec<String> =
        expected.iter().map(|fault| format!("{PATH}.properties[spec]{fault}")).collect();
    let found = faults(|given| *given.pointer_mut(SPEC).unwrap() = schema.clone());
    let own = |fault: &String| fault.starts_with(PATH);
    assert_eq!(found.into_iter().filter(own).collect::<Vec<_>>(), expected, "{schema}");
}

#[test]
fn names_that_are_not_given_come_from_the_kind() {
    let kind = def("customresourcedefinitions");
    let mut given = example(&kind);
    given["spec"]["names"] = json!({"plural": "crontabs", "kind": "CronTab"});
    given["spec"].as_object_mut().unwrap().remove("conversion");
    let made = create(&kind, given);
    let names = json!({
        "plural": "crontabs", "kind": "CronTab", "singular": "crontab", "listKind": "CronTabList",
    });
    assert_eq!(made["spec"]["names"], names);
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(made["status"], json!({"storedVersions": ["v1"]}));
}

#[test]
fn names_scope_and_versions_are_checked() {
    check(
        "/spec/scope",
        &json!("Galaxy"),
        &[
            "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        ],
    );
    check(
        "/spec/names/plural",
        &json!("tabs"),
        &[
            "metadata.name: Invalid value: \"crontabs.stable.example.com\": must be spec.names.plural+\".\"+spec.group",
        ],
    );
    check(
        "/spec/names/listKind",
        &json!("CronTab"),
        &["spec.names.listKind: Invalid value: \"CronTab\": kind and listKind may not be the same"],
    );
    check(
        "/spec/versions/0/storage",
        &json!(false),
        &[
            "spec.versions: Invalid value: [\"v1\"]: must have exactly one version marked as storage version",
        ],
    );
    check(
        "/spec/versions/0/schema",
        &json!(null),
        &[
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.image\": is an invalid path: does not refer to a valid field",
        ],
    );
    check(
        "/spec/versions/0/additionalPrinterColumns/0/type",
        &json!("text"),
        &[
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ],
    );
    check(
        "/spec/versions/0/subresources/scale/statusReplicasPath",
        &json!(".spec.replicas"),
        &[
            "spec.subresources.scale.statusReplicasPath: Invalid value: \".spec.replicas\": should be a json path under .status",
        ],
    );
    let protected = faults(|given| {
        given["metadata"]["name"] = json!("crontabs.stable.k8s.io");
        given["spec"]["group"] = json!("stable.k8s.io");
    });
    assert_eq!(
        protected,
        [
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ]
    );
}

#[test]
fn a_conversion_by_webhook_says_where_and_how_to_ask() {
    check(
        "/spec/conversion/strategy",
        &json!("Shell"),
        &[
            "spec.conversion.strategy: Unsupported value: \"Shell\": supported values: \"None\", \"Webhook\"",
        ],
    );
    check(
        "/spec/conversion",
        &json!({"strategy": "Webhook"}),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
    check(
        "/spec/conversion",
        &json!({"strategy": "Webhook", "webhook": {
            "clientConfig": {"url": "http://a.example.com"}, "conversionReviewVersions": ["v9"],
        }}),
        &[
            "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
        ],
    );
    check(
        "/spec/conversion/webhook",
        &json!({"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v1"]}),
        &[
            "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
            "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
        ],
    );
}

#[test]
fn a_schema_is_structural() {
    check_schema(
        &json!({"properties": {"image": {"type": "string"}}}),
        &[".type: Required value: must not be empty for specified object fields"],
    );
    let image = |schema: Value| json!({"type": "object", "properties": {"image": schema}});
    let list = |more: Value| {
        let mut list = json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}});
        list.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": "object", "properties": {"image": {"type": "string"}, "l": list}})
    };
    check_schema(
        &image(json!({"type": "text"})),
        &[
            ".properties[image].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
    check_schema(
        &list(json!({"items": null})),
        &[".properties[l].items: Required value: must be specified"],
    );
    check_schema(
        &list(json!({"uniqueItems": true})),
        &[
            ".properties[l].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ],
    );
    check_schema(
        &list(json!({"x-kubernetes-list-type": "map"})),
        &[
            ".properties[l].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ],
    );
    check_schema(
        &list(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"]})),
        &[
            ".properties[l].items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ".properties[l].x-kubernetes-list-map-keys: Invalid value: [\"a\", \"b\"]: entries must all be names of item properties",
        ],
    );
    check_schema(
        &list(json!({"x-kubernetes-list-type": "set"})),
        &[
            ".properties[l].items.x-kubernetes-map-type: Invalid value: \"\": must be atomic as item of a list with x-kubernetes-list-type=set",
        ],
    );
    let mut logic = image(json!({"type": "string"}));
    logic["anyOf"] =
        json!([{"properties": {"image": {"type": "string"}, "other": {"minLength": 1}}}]);
    check_schema(
        &logic,
        &[
            ".anyOf[0].properties[image].type: Forbidden: must be empty to be structural",
            ".properties[other]: Required value: because it is defined in spec.validation.openAPIV3Schema.properties[spec].anyOf[0].properties[other]",
        ],
    );
    check_schema(
        &image(json!({"type": "string", "default": 1})),
        &[
            ".properties[image].default: Invalid value: \"integer\":  in body must be of type string: \"integer\"",
        ],
    );
    let either = json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]});
    check_schema(
        &json!({"type": "object", "properties": {"image": {"type": "string"}, "p": either}}),
        &[],
    );
}

#[test]
fn a_pattern_that_is_not_matched_in_linear_time_is_refused() {
    let told = |pattern: &str| {
        let image = json!({"type": "string", "pattern": pattern});
        faults(|given| given.pointer_mut(SPEC).unwrap()["properties"]["image"] = image)
    };
    assert!(told("^(a+)+$").is_empty());
    for pattern in ["^(?=a)(a+)+$", "^(?!a)", "(?<=a)b", r"^(a)\1$", "(ab{500}c){500}"] {
        let faults = told(pattern);
        let [fault] = &*faults else { panic!("{pattern}: {faults:?}") };
        assert!(
            fault.starts_with("spec.versions: Invalid value: \"\": error building validator"),
            "{fault}"
        );
    }
}

#[test]
fn the_root_is_an_object_whose_metadata_are_the_api_s() {
    let root = |more: Value| {
        faults(|given| {
            let schema = given.pointer_mut(SCHEMA).unwrap().as_object_mut().unwrap();
            schema.extend(more.as_object().unwrap().clone());
        })
    };
    assert_eq!(
        root(json!({"type": "array", "items": {"type": "string"}}))[0],
        format!("{PATH}.type: Invalid value: \"array\": must be object at the root")
    );
    let metadata = json!({"type": "object", "properties": {"labels": {"type": "object"}}});
    let found =
        faults(|given| given.pointer_mut(SCHEMA).unwrap()["properties"]["metadata"] = metadata);
    assert_eq!(
        found,
        [format!(
            "{PATH}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"
        )]
    );
}

#[test]
fn a_schema_that_is_nested_deeply_is_checked_in_bounded_time() {
    let mut schema = json!({"type": "string", "default": "x"});
    for _ in 0..50 {
        schema = json!({"type": "object", "properties": {"image": schema}, "default": {}});
    }
    check_schema(&schema, &[]);
}

#[test]
fn what_objects_may_be_stored_in_stays() {
    let kind = def("customresourcedefinitions");
    let before = create(&kind, example(&kind));
    let mut renamed = before.clone();
    renamed["spec"]["versions"][0]["name"] = json!("v2");
    let error = update(&kind, &before, renamed).unwrap_err().to_string();
    assert!(error.contains("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version"), "{error}");
    let mut other = before.clone();
    other["spec"]["group"] = json!("other.example.com");
    let error = update(&kind, &before, other).unwrap_err().to_string();
    assert!(
        error.contains("spec.group: Invalid value: \"other.example.com\": field is immutable"),
        "{error}"
    );
}

/// A schema with rules.
fn ruled(rules: &Value) -> Value {
    let a = json!({"type": "string"});
    json!({"type": "object", "x-kubernetes-validations": rules, "properties": {"a": a}})
}

/// The faults of a rule, below its schema's path.
fn check_rule(rule: &Value, expected: &[String]) {
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check_schema(&ruled(&json!([rule])), &expected);
}

#[test]
fn a_rule_says_what_it_has_to_say() {
    let rules = ".x-kubernetes-validations";
    check_rule(&json!({"rule": "self.a == 'x'"}), &[]);
    check_rule(
        &json!({"rule": " "}),
        &[format!("{rules}[0].rule: Required value: rule is not specified")],
    );
    check_rule(
        &json!({"rule": "true", "message": "a\nb"}),
        &[format!("{rules}[0].message: Invalid value: \"a\\nb\": must not contain line breaks")],
    );
    check_rule(
        &json!({"rule": "true\n&& true"}),
        &[format!(
            "{rules}[0].message: Required value: message must be specified if rule contains line breaks"
        )],
    );
    check_rule(
        &json!({"rule": "true", "fieldPath": ".none", "reason": "Odd"}),
        &[
            format!(
                "{rules}[0].reason: Unsupported value: \"Odd\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\""
            ),
            format!("{rules}[0].fieldPath: Invalid value: \".none\": must be a valid path"),
        ],
    );
    check_rule(
        &json!({"rule": "true", "optionalOldSelf": true}),
        &[format!(
            "{rules}[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        )],
    );
}

#[test]
fn a_default_keeps_the_rules() {
    let few = json!([{"rule": "self < 3", "message": "too many"}]);
    let number = json!({"type": "integer", "x-kubernetes-validations": few});
    let with = |schema: &Value, default: Value| {
        let mut schema = schema.clone();
        schema["default"] = default;
        json!({"type": "object", "properties": {"a": schema}})
    };
    check_schema(&with(&number, json!(2)), &[]);
    check_schema(&with(&number, json!(5)), &[".properties[a].default: Invalid value: 5: too many"]);
    let outer = json!({"type": "object", "properties": {"n": number}});
    check_schema(
        &with(&outer, json!({"n": 5})),
        &[".properties[a].default.n: Invalid value: 5: too many"],
    );
    let list = json!({"type": "array", "maxItems": 9, "items": with(&number, json!(5))});
    check_schema(
        &json!({"type": "object", "properties": {"l": list}}),
        &[".properties[l].items.properties[a].default: Invalid value: 5: too many"],
    );
}

#[test]
fn rules_are_expressions_about_what_the_schema_has() {
    let rules = ".x-kubernetes-validations";
    let shown = |rule: &str, expression: &str| {
        format!(
            "{{\"Rule\":{rule:?},\"Message\":\"\",\"MessageExpression\":{expression:?},\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}"
        )
    };
    check_rule(
        &json!({"rule": "self.a"}),
        &[format!(
            "{rules}[0].rule: Invalid value: {}: cel expression must evaluate to a bool",
            shown("self.a", "")
        )],
    );
    check_rule(
        &json!({"rule": "true", "messageExpression": "1"}),
        &[format!(
            "{rules}[0].messageExpression: Invalid value: {}: messageExpression must evaluate to a string",
            shown("true", "1")
        )],
    );
    let found = faults(|given| {
        *given.pointer_mut(SPEC).unwrap() = ruled(&json!([{"rule": "self.b == 1"}]));
    });
    assert!(
        found[0].contains(": compilation failed: ERROR: <input>:1:5: undefined field 'b'"),
        "{found:?}"
    );
}

#[test]
fn not_every_schema_may_have_any_rules() {
    let mut schema = ruled(&json!([]));
    schema["properties"]["list"] = json!({"type": "array", "items": {
        "type": "string", "maxLength": 5,
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}],
    }});
    check_schema(
        &schema,
        &[&format!(
            ".properties[list].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within {PATH}.properties[spec].properties[list]"
        )],
    );
    let many: Vec<Value> = (0..1001).map(|_| json!({"rule": "true"})).collect();
    let found = faults(|given| *given.pointer_mut(SPEC).unwrap() = ruled(&json!(many)));
    assert_eq!(
        found[0],
        format!("{PATH}: Forbidden: has more than 1,000 rules, or more than 256 KiB of them")
    );
}
