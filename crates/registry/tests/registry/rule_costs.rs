//! Definitions whose rules may cost too much are refused.

use api_machinery::ApiError;
use serde_json::{Value, json};

use crate::{context, create, def, example, try_create, update};

const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
const PATH: &str = "spec.validation.openAPIV3Schema";
const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

fn definition(schema: &Value) -> Value {
    let mut given = example(&def("customresourcedefinitions"));
    *given.pointer_mut(SPEC).unwrap() = schema.clone();
    given
}

/// The faults that tell of costs, without the path of all and the hint.
fn told(result: Result<Value, ApiError>) -> Vec<String> {
    let Err(error) = result else { return Vec::new() };
    let causes = error.status().details.clone().unwrap().causes.unwrap().into_iter();
    let causes = causes.map(|c| (c.field.unwrap(), c.message.unwrap()));
    let ours =
        causes.filter(|(field, message)| field.starts_with(PATH) && message.contains("cost"));
    let short = |message: String| message.replace(HINT, "").trim_end().to_owned();
    ours.map(|(field, message)| format!("{}: {}", &field[PATH.len()..], short(message))).collect()
}

/// Those of a schema for the spec.
fn faults(schema: &Value) -> Vec<String> {
    let kind = def("customresourcedefinitions");
    told(try_create(&kind, definition(schema), &context(&kind)))
}

#[track_caller]
fn check(schema: &Value, expected: &[&str]) {
    assert_eq!(faults(schema), expected, "{schema}");
}

fn ruled(mut schema: Value, rules: &[&str]) -> Value {
    schema["x-kubernetes-validations"] = rules.iter().map(|rule| json!({"rule": rule})).collect();
    schema
}

fn object(fields: &Value) -> Value {
    json!({"type": "object", "properties": fields})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

const TOO_MUCH: &str = "Forbidden: estimated rule cost exceeds budget by factor of more than 100x";
const PART: &str = "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
const TOTAL: &str = ": Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x";

#[test]
fn a_rule_is_paid_for_as_often_as_there_may_be_values() {
    let matching = ruled(text(), &["self.matches('^a')"]);
    let place = ".properties[spec].properties[list].items.x-kubernetes-validations[0].rule";
    check(
        &object(&json!({"list": list(&matching)})),
        &[&format!("{place}: {TOO_MUCH}"), &format!("{place}: {PART}"), TOTAL],
    );
    let mut few = list(&matching);
    few["maxItems"] = json!(10);
    check(&object(&json!({"list": few})), &[]);
    let mut short = matching;
    short["maxLength"] = json!(5);
    check(&object(&json!({"list": list(&short)})), &[]);
}

#[test]
fn bounds_of_lists_and_maps_multiply() {
    let mut short = ruled(text(), &["self == 'a'"]);
    short["maxLength"] = json!(5);
    let map = |entries: u32, items: u32| {
        let mut values = list(&short);
        values["maxItems"] = json!(items);
        let map =
            json!({"type": "object", "maxProperties": entries, "additionalProperties": values});
        object(&json!({"map": map}))
    };
    check(&map(100, 100), &[]);
    check(
        &map(1_000, 10_000),
        &[
            ".properties[spec].properties[map].additionalProperties.items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 2.0x",
        ],
    );
}

#[test]
fn a_loop_within_a_loop_needs_a_bound() {
    let rule = "self.list.all(x, self.list.exists_one(y, x == y))";
    let schema =
        |items: Value| ruled(object(&json!({"list": items})), &["size(self.list) > 0", rule]);
    let place = ".properties[spec].x-kubernetes-validations[1].rule";
    check(
        &schema(list(&text())),
        &[&format!("{place}: {TOO_MUCH}"), &format!("{place}: {PART}"), TOTAL],
    );
    let mut few = list(&json!({"type": "string", "maxLength": 63}));
    few["maxItems"] = json!(64);
    check(&schema(few), &[]);
}

#[test]
fn what_a_rule_says_may_cost_too_much_too() {
    let mut schema = ruled(text(), &["self != ''"]);
    schema["x-kubernetes-validations"][0]["messageExpression"] =
        json!("[self, self].map(x, x + x).join(self)");
    let place = ".properties[spec].properties[a].x-kubernetes-validations[0].messageExpression";
    check(
        &object(&json!({"a": schema})),
        &[
            &format!("{place}: {}", TOO_MUCH.replace("rule", "messageExpression")),
            &format!("{place}: {PART}"),
            TOTAL,
        ],
    );
}

#[test]
fn what_is_wrong_otherwise_is_told_alone() {
    let rules = ["self.nope", "self.list.all(x, self.list.all(y, x == y))"];
    let schema = ruled(object(&json!({"list": list(&text())})), &rules);
    assert_eq!(faults(&schema).len(), 3);
    let wrong = object(&json!({"list": {"type": "array"}}));
    check(&ruled(wrong, &rules[1..]), &[]);
}

#[test]
fn what_is_there_already_may_stay_as_it_is() {
    let kind = def("customresourcedefinitions");
    let rule = "self.list.all(x, self.list.all(y, x == y))";
    let mut old = create(&kind, example(&kind));
    let schema = ruled(object(&json!({"list": list(&text())})), &[rule]);
    *old.pointer_mut(SPEC).unwrap() = schema.clone();
    let mut new = old.clone();
    new["spec"]["names"]["categories"] = json!(["all"]);
    assert_eq!(told(update(&kind, &old, new.clone())), [""; 0]);
    new.pointer_mut(SPEC).unwrap()["properties"]["other"] = text();
    assert_eq!(told(update(&kind, &old, new)), faults(&schema));
}
