//! Rules in CEL that schemas have for the objects of kinds that come from data.

use registry::ResourceDef;
use serde_json::{Value, json};

use crate::{context, create, custom_resource::custom, try_create, update};

fn kind(spec: &Value) -> ResourceDef {
    custom(spec).build().unwrap()
}

fn object(spec: &Value) -> Value {
    json!({"metadata": {"name": "a"}, "spec": spec})
}

fn told(result: Result<Value, api_machinery::ApiError>) -> Vec<String> {
    let Err(error) = result else { return Vec::new() };
    let causes = error.status().details.clone().unwrap().causes.unwrap();
    causes.into_iter().map(|c| format!("{}: {}", c.field.unwrap(), c.message.unwrap())).collect()
}

/// The faults of a new object by this schema of its spec.
#[track_caller]
fn check(schema: &Value, spec: &Value, expected: &[&str]) {
    let kind = kind(schema);
    let found = told(try_create(&kind, object(spec), &context(&kind)));
    assert_eq!(found, expected, "{schema} {spec}");
}

/// The faults of an update by this schema of its spec; what was there before is of any schema.
#[track_caller]
fn check_update(schema: &Value, old: &Value, new: &Value, expected: &[&str]) {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let old = create(&kind(&any), object(old));
    let mut changed = old.clone();
    changed["spec"] = new.clone();
    assert_eq!(told(update(&kind(schema), &old, changed)), expected, "{schema} {new}");
}

fn integers(rules: &Value) -> Value {
    let integer = json!({"type": "integer"});
    json!({
        "type": "object", "x-kubernetes-validations": rules,
        "properties": {"min": integer, "max": integer},
    })
}

#[test]
fn an_object_keeps_the_rules_of_its_schema() {
    let plain = integers(&json!([{"rule": "self.min <= self.max"}]));
    check(&plain, &json!({"min": 1, "max": 2}), &[]);
    check(
        &plain,
        &json!({"min": 3, "max": 2}),
        &["spec: Invalid value: failed rule: self.min <= self.max"],
    );
    check(
        &plain,
        &json!({"min": 3}),
        &[
            "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max",
        ],
    );
    let said = integers(&json!([
        {"rule": "self.min <= self.max", "message": " the wrong way round ", "fieldPath": ".min", "reason": "FieldValueForbidden"},
        {"rule": "self.max < 10", "messageExpression": "'%d is too much'.format([self.max])"},
        {"rule": "self.max < 11", "messageExpression": "''", "message": "less"},
        {"rule": "self.max < 12", "reason": "FieldValueRequired", "fieldPath": ".max"},
    ]));
    check(
        &said,
        &json!({"min": 30, "max": 20}),
        &[
            "spec.min: Forbidden: the wrong way round",
            "spec: Invalid value: 20 is too much",
            "spec: Invalid value: less",
            "spec.max: Required value: failed rule: self.max < 12",
        ],
    );
}

#[test]
fn rules_are_about_values_wherever_they_are() {
    let name =
        json!({"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]});
    let list = json!({"type": "array", "items": name});
    let map = json!({"type": "object", "additionalProperties": name});
    let schema = json!({"type": "object", "properties": {"list": list, "map": map, "own": name}});
    check(
        &schema,
        &json!({"list": ["a", "b"], "map": {"x": "c"}, "own": "d"}),
        &[
            "spec.list[1]: Invalid value: \"b\": failed rule: self.startsWith('a')",
            "spec.map[x]: Invalid value: \"c\": failed rule: self.startsWith('a')",
            "spec.own: Invalid value: \"d\": failed rule: self.startsWith('a')",
        ],
    );
    let typed = json!({"type": "object", "properties": {
        "wait": {"type": "string", "format": "duration"},
        "either": {"x-kubernetes-int-or-string": true},
        "share": {"type": "number"},
        "a-b": {"type": "boolean"},
    }, "x-kubernetes-validations": [{
        "rule": "self.wait < duration('1m') && type(self.either) == int && self.share == 2.0 && self.a__dash__b",
    }]});
    check(&typed, &json!({"wait": "30s", "either": 1, "share": 2, "a-b": true}), &[]);
    let days = json!({"type": "object", "properties": {
        "day": {"type": "string", "format": "date"},
        "moment": {"type": "string", "format": "date-time"},
    }, "x-kubernetes-validations": [{
        "rule": "self.day < self.moment && self.day == timestamp('2024-02-29T00:00:00Z') && self.day.getDate() == 29",
    }]});
    check(&days, &json!({"day": "2024-02-29", "moment": "2024-02-29T12:00:00Z"}), &[]);
}

#[test]
fn the_name_is_known_at_the_root() {
    let mut resource = custom(&json!({"type": "object"}));
    resource.schema["x-kubernetes-validations"] = json!([{"rule": "self.metadata.name == 'b'"}]);
    let kind = resource.build().unwrap();
    let found = told(try_create(&kind, object(&json!({})), &context(&kind)));
    assert_eq!(found, ["<nil>: Invalid value: failed rule: self.metadata.name == 'b'"]);
}

#[test]
fn a_change_is_looked_at_beside_what_was_there() {
    let fixed = |rule: Value| {
        json!({"type": "object", "properties": {
            "x": {"type": "integer", "x-kubernetes-validations": [rule]},
        }})
    };
    let same = fixed(json!({"rule": "self == oldSelf", "message": "stays"}));
    check(&same, &json!({"x": 1}), &[]);
    check_update(&same, &json!({"x": 1}), &json!({"x": 1}), &[]);
    check_update(&same, &json!({"x": 1}), &json!({"x": 2}), &["spec.x: Invalid value: 2: stays"]);
    check_update(&same, &json!({}), &json!({"x": 2}), &[]);
    check_update(&same, &json!({"x": null}), &json!({"x": 2}), &[]);
    let begins = fixed(json!({
        "rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true, "message": "begins with 1",
    }));
    check(&begins, &json!({"x": 1}), &[]);
    check(&begins, &json!({"x": 2}), &["spec.x: Invalid value: 2: begins with 1"]);
    check_update(&begins, &json!({"x": 1}), &json!({"x": 2}), &[]);
}

#[test]
fn elements_of_a_map_list_are_known_by_their_keys() {
    let element = json!({
        "type": "object", "required": ["key"],
        "properties": {"key": {"type": "string"}, "value": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.value >= oldSelf.value", "message": "grows"}],
    });
    let list = json!({
        "type": "array", "items": element, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["key"],
    });
    let schema = json!({"type": "object", "properties": {"list": list}});
    let spec = |all: &[(&str, i64)]| {
        let list: Vec<_> =
            all.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        json!({"list": list})
    };
    let old = spec(&[("a", 5), ("b", 1)]);
    check_update(&schema, &old, &spec(&[("b", 2), ("a", 5), ("c", 0)]), &[]);
    check_update(
        &schema,
        &old,
        &spec(&[("b", 2), ("a", 4)]),
        &["spec.list[1]: Invalid value: grows"],
    );
}

#[test]
fn what_is_as_it_was_is_not_refused_for_a_rule_that_came_later() {
    let few = |type_: &str| json!({"type": type_, "x-kubernetes-validations": [{"rule": "size(self) < 3"}]});
    let names = json!({"type": "array", "items": few("string")});
    let schema = json!({"type": "object", "properties": {
        "a": few("string"), "names": names, "other": {"type": "integer"},
    }});
    let old = json!({"a": "long", "names": ["long", "b"], "other": 1});
    check_update(&schema, &old, &json!({"a": "long", "names": ["long", "b"], "other": 2}), &[]);
    check_update(
        &schema,
        &old,
        &json!({"a": "longer", "names": ["long", "c"]}),
        &[
            "spec.a: Invalid value: \"longer\": failed rule: size(self) < 3",
            "spec.names[0]: Invalid value: \"long\": failed rule: size(self) < 3",
        ],
    );
}

#[test]
fn rules_wait_until_the_object_is_as_its_schema_says() {
    let mut schema = integers(&json!([{"rule": "self.min <= self.max"}]));
    schema["required"] = json!(["min"]);
    check(
        &schema,
        &json!({"max": 1}),
        &[
            "spec.min: Required value",
            "<nil>: Invalid value: \"null\": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ],
    );
}

#[test]
fn no_rule_holds_the_server() {
    let rule = "self.list.all(x, self.list.all(y, self.list.all(z, x + y + z >= 0)))";
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let schema = json!({
        "type": "object", "properties": {"list": list}, "x-kubernetes-validations": [{"rule": rule}],
    });
    check(&schema, &json!({"list": [1, 2, 3]}), &[]);
    let many: Vec<u32> = (0..2000).collect();
    check(
        &schema,
        &json!({"list": many}),
        &[&format!(
            "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"
        )],
    );
    let each = json!({"type": "integer", "x-kubernetes-validations": [
        {"rule": "[1,2,3,4,5,6,7,8,9].all(x, [1,2,3,4,5,6,7,8,9].all(y, x * y > 0 || self == 0))"},
    ]});
    let schema =
        json!({"type": "object", "properties": {"list": {"type": "array", "items": each}}});
    let many: Vec<u32> = (0..200_000).collect();
    let kind = kind(&schema);
    let found = told(try_create(&kind, object(&json!({"list": many})), &context(&kind)));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with(
            "Invalid value: \"integer\": validation failed due to running out of cost budget, no further validation rules will be run"
        ),
        "{found:?}"
    );
}
