//! Kinds that come from data: the stages of a write by their schemas.

use api_machinery::ApiError;
use registry::{
    Column, CustomResource, CustomResourceError, Names, PrinterColumn, ResourceDef, ScalePaths,
    Scope, SelectorPath, scale,
};
use serde_json::{Value, json};

use crate::{context, create, now, try_create, update, update_status};

pub(crate) fn custom(spec: &Value) -> CustomResource {
    let properties = json!({"spec": spec, "status": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
    }});
    CustomResource {
        names: Names {
            group: "stable.example.com".to_owned(),
            version: "v1".to_owned(),
            kind: "CronTab".to_owned(),
            plural: "crontabs".to_owned(),
            singular: "crontab".to_owned(),
            list_kind: "CronTabList".to_owned(),
            short_names: vec!["ct".to_owned()],
            categories: Vec::new(),
        },
        scope: Scope::Namespaced,
        schema: json!({"type": "object", "properties": properties}),
        columns: Vec::new(),
        has_status: true,
        scale: None,
        deprecation_warning: None,
        webhook: None,
        conversion: None,
        is_served: true,
        selectable_fields: Vec::new(),
    }
}

/// A kind whose objects have a spec of this schema.
fn kind(spec: &Value) -> ResourceDef {
    custom(spec).build().unwrap()
}

fn object(spec: &Value) -> Value {
    json!({"metadata": {"name": "a"}, "spec": spec})
}

/// What becomes of a spec, and what of it is unknown.
fn check(schema: &Value, given: &Value, expected: &Value, unknown: &[&str]) {
    let kind = kind(schema);
    let decoded = kind.decode(object(given), None).unwrap();
    assert_eq!(decoded.unknown, unknown, "{schema} {given}");
    assert_eq!(create(&kind, object(given))["spec"], *expected, "{schema} {given}");
}

#[test]
fn unknown_fields_are_dropped_unless_the_schema_keeps_them() {
    let inner = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let given = json!({"a": 1, "b": 2});
    check(&inner, &given, &json!({"a": 1}), &["spec.b"]);
    let list = json!({"type": "object", "properties": {"l": {"type": "array", "items": inner}}});
    check(&list, &json!({"l": [{}, given]}), &json!({"l": [{}, {"a": 1}]}), &["spec.l[1].b"]);
    let map = json!({"type": "object", "additionalProperties": inner});
    check(&map, &json!({"k": given}), &json!({"k": {"a": 1}}), &["spec.k.b"]);
    let all = json!({"type": "object", "additionalProperties": true});
    check(&all, &given, &given, &[]);
    let mut keeps = inner.clone();
    keeps["x-kubernetes-preserve-unknown-fields"] = json!(true);
    check(&keeps, &given, &given, &[]);
    let outer = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": inner}});
    let both = json!({"known": given, "other": given});
    check(&outer, &both, &json!({"known": {"a": 1}, "other": given}), &["spec.known.b"]);
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}});
    let kept = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    check(&embedded, &pod, &kept, &["spec.spec"]);
    let mut typed = embedded.clone();
    typed["properties"] = json!({"metadata": {"type": "object"}});
    check(&typed, &pod, &kept, &["spec.spec"]);
}

#[test]
fn a_list_that_keeps_unknown_fields_keeps_those_of_its_elements() {
    let keeps = "x-kubernetes-preserve-unknown-fields";
    let spec = |list: Value| json!({"type": "object", "properties": {"l": list}});
    let given = json!({"l": [{"a": 1, "b": {"c": 2}}, [{"d": 3}]]});
    check(&spec(json!({keeps: true})), &given, &given, &[]);
    let known = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let items = json!({"type": "object", "properties": {"b": known}});
    let list = json!({"type": "array", keeps: true, "items": items});
    let given = json!({"l": [{"x": 1, "b": {"a": 1, "y": 2}}]});
    check(&spec(list), &given, &json!({"l": [{"x": 1, "b": {"a": 1}}]}), &["spec.l[0].b.y"]);
}

#[test]
fn no_more_unknown_fields_are_told_of_than_anybody_reads() {
    let kind = kind(&json!({"type": "object", "additionalProperties": {"type": "object"}}));
    let fields: serde_json::Map<_, _> = (0..1000).map(|n| (n.to_string(), 1.into())).collect();
    let unknown = kind.decode(object(&json!({"k".repeat(5000): fields})), None).unwrap().unknown;
    assert_eq!(unknown.len(), 100);
    assert!(unknown.iter().all(|path| path.len() == 4096));
}

#[test]
fn what_is_not_said_is_as_the_schema_says() {
    let number = json!({"type": "integer", "default": 3});
    let fields = json!({
        "n": number,
        "inner": {"type": "object", "default": {}, "properties": {"n": number}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": number}}},
        "null": {"type": "string", "nullable": true, "default": "x"},
        "gone": {"type": "string"},
    });
    let schema = json!({"type": "object", "properties": fields});
    let told = json!({"n": 3, "inner": {"n": 3}, "null": "x"});
    check(&schema, &json!({}), &told, &[]);
    check(
        &schema,
        &json!({"n": null, "inner": {"n": 1}, "list": [{}], "null": null, "gone": null}),
        &json!({"n": 3, "inner": {"n": 1}, "list": [{"n": 3}], "null": null}),
        &[],
    );
    let map = json!({"type": "object", "additionalProperties": {
        "type": "object", "properties": {"n": number},
    }});
    check(&map, &json!({"k": {}}), &json!({"k": {"n": 3}}), &[]);
}

/// The faults of a field of this schema.
fn check_faults(field: &Value, given: &Value, expected: &[&str]) {
    let schema = json!({"type": "object", "properties": {"f": field}});
    let kind = kind(&schema);
    let made = try_create(&kind, object(&json!({"f": given})), &context(&kind));
    let causes = |error: ApiError| {
        let causes = error.status().details.clone().unwrap().causes.unwrap();
        let told = |c: &api_types::meta::StatusCause| {
            format!("{}: {}", c.field.as_deref().unwrap(), c.message.as_deref().unwrap())
        };
        causes.iter().map(told).collect::<Vec<_>>()
    };
    let faults = made.map_or_else(causes, |_| Vec::new());
    assert_eq!(faults, expected, "{field} {given}");
}

#[test]
fn faults_are_told_in_kubernetes_words() {
    let typed = |type_: &str| json!({"type": type_});
    let must =
        r#"spec.f: Invalid value: "string": spec.f in body must be of type integer: "string""#;
    check_faults(&typed("integer"), &json!("x"), &[must]);
    check_faults(&typed("integer"), &json!(1), &[]);
    let mode = json!({"type": "string", "enum": ["a", "b"]});
    check_faults(
        &mode,
        &json!("c"),
        &[r#"spec.f: Unsupported value: "c": supported values: "a", "b""#],
    );
    let replicas = json!({"type": "integer", "minimum": 1, "maximum": 10});
    let most = "spec.f: Invalid value: 11: spec.f in body should be less than or equal to 10";
    check_faults(&replicas, &json!(11), &[most]);
    let least = "spec.f: Invalid value: 0: spec.f in body should be greater than or equal to 1";
    check_faults(&replicas, &json!(0), &[least]);
    let above = json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true});
    let above_one = "spec.f: Invalid value: 1: spec.f in body should be greater than 1";
    check_faults(&above, &json!(1), &[above_one]);
    let pattern = json!({"type": "string", "pattern": "^a+$", "minLength": 2, "maxLength": 3});
    let match_ = r#"spec.f: Invalid value: "b": spec.f in body should match '^a+$'"#;
    let short = r#"spec.f: Invalid value: "b": spec.f in body should be at least 2 chars long"#;
    let mut faults = [match_, short];
    faults.sort_unstable();
    check_faults(&pattern, &json!("b"), &faults);
    check_faults(&pattern, &json!("aaaa"), &["spec.f: Too long: may not be more than 3 bytes"]);
    let list = json!({"type": "array", "maxItems": 1, "items": {
        "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}},
    }});
    let many = "spec.f: Too many: 2: must have at most 1 items";
    let required = "spec.f[1].name: Required value";
    check_faults(&list, &json!([{"name": "a"}, {}]), &[many, required]);
    let either = json!({"x-kubernetes-int-or-string": true});
    check_faults(&either, &json!(1), &[]);
    check_faults(&either, &json!("50%"), &[]);
    let bool_ = r#"spec.f: Invalid value: "boolean": spec.f in body must be of type integer,string: "boolean""#;
    check_faults(&either, &json!(true), &[bool_]);
    let one_of = json!({"type": "integer", "oneOf": [{"minimum": 1}, {"minimum": 2}]});
    let one = r#"spec.f: Invalid value: 3: "spec.f" must validate one and only one schema (oneOf)"#;
    check_faults(&one_of, &json!(3), &[one]);
}

#[test]
fn texts_are_of_the_formats_that_kubernetes_knows() {
    let of = |format: &str| json!({"type": "string", "format": format});
    for (format, fine, wrong) in [
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "x"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("date-time", "2014-12-15T19:30:20Z", "2014-12-15"),
        ("uri", "/path", "path"),
        ("duration", "22 ns", "soon"),
        ("k8s-short-name", "a-b", "a.b"),
    ] {
        check_faults(&of(format), &json!(fine), &[]);
        let told = format!(
            r#"spec.f: Invalid value: "{wrong}": spec.f in body must be of type {format}: "{wrong}""#
        );
        check_faults(&of(format), &json!(wrong), &[&told]);
        let either = json!({"x-kubernetes-int-or-string": true, "format": format});
        check_faults(&either, &json!(wrong), &[&told]);
        check_faults(&either, &json!(1), &[]);
    }
    for unknown in ["regex", "time", "json-pointer", "int64"] {
        check_faults(&of(unknown), &json!("((("), &[]);
    }
    let integer = |format: &str| json!({"type": "integer", "format": format});
    check_faults(&integer("int64"), &json!(2_147_483_648_u32), &[]);
    check_faults(&integer("int32"), &json!(2_147_483_647), &[]);
    let long = r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.f"#;
    check_faults(&integer("int32"), &json!(2_147_483_648_u32), &[long]);
}

#[test]
fn null_of_a_nullable_field_must_be_in_its_enum_and_is_good_for_all_else() {
    let check = |mut field: Value, expected: &[&str]| {
        field["nullable"] = json!(true);
        check_faults(&field, &Value::Null, expected);
    };
    check(json!({"type": "string", "enum": ["a", null]}), &[]);
    let unsupported = r#"spec.f: Unsupported value: "null": supported values: "a""#;
    check(json!({"type": "string", "enum": ["a"]}), &[unsupported]);
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    check(json!({"x-kubernetes-int-or-string": true, "anyOf": either}), &[]);
    check(json!({"type": "string", "oneOf": [{"enum": ["a"]}, {"enum": ["b"]}]}), &[]);
    check(json!({"type": "integer", "oneOf": [{"minimum": 1}, {"minimum": 2}]}), &[]);
    check(json!({"type": "integer", "allOf": [{"enum": [1]}, {"not": {"minimum": 2}}]}), &[]);
    check(json!({"type": "integer", "not": {"minimum": 1}}), &[]);
    let not = json!({"type": "integer", "nullable": true, "not": {"minimum": 1}});
    let refused = r#"spec.f: Invalid value: 3: "spec.f" must not validate the schema (not)"#;
    check_faults(&not, &json!(3), &[refused]);
}

#[test]
fn an_empty_list_in_a_schema_says_nothing() {
    check_faults(&json!({"type": "object", "required": []}), &json!({}), &[]);
    check_faults(&json!({"type": "string", "enum": [], "anyOf": []}), &json!("a"), &[]);
}

#[test]
fn a_set_has_nothing_twice_and_a_map_no_key() {
    let set =
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    check_faults(&set, &json!(["a", "b"]), &[]);
    let twice = |index, value| format!("spec.f[{index}]: Duplicate value: {value}");
    check_faults(&set, &json!(["a", "b", "a"]), &[&twice(2, r#""a""#)]);
    let items = json!({"type": "object", "properties": {
        "port": {"type": "integer"},
        "protocol": {"type": "string", "default": "TCP"},
        "name": {"type": "string"},
    }});
    let keys = json!(["port", "protocol"]);
    let map = json!({"type": "array", "x-kubernetes-list-type": "map", "items": items,
        "x-kubernetes-list-map-keys": keys});
    let udp = json!({"port": 1, "protocol": "UDP"});
    check_faults(&map, &json!([{"port": 1}, udp, {"port": 2}]), &[]);
    let tcp = json!({"protocol": "TCP", "port": 1, "name": "b"});
    let key = r#"{"port":1,"protocol":"TCP"}"#;
    check_faults(&map, &json!([{"port": 1, "name": "a"}, tcp]), &[&twice(1, key)]);
    let nested = json!({"type": "object", "additionalProperties": {"type": "array", "items": set}});
    let within = r#"spec.f.k[0][1]: Duplicate value: "a""#;
    check_faults(&nested, &json!({"k": [["a", "a"]], "l": [["a"], ["a"]]}), &[within]);
    let list = json!({"type": "array", "items": {"type": "string"}});
    check_faults(&list, &json!(["a", "a"]), &[]);
}

#[test]
fn an_embedded_object_says_what_it_is() {
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true});
    check_faults(&embedded, &json!({"apiVersion": "v1", "kind": "Pod"}), &[]);
    let missing = |field| format!("spec.f.{field}: Required value: must not be empty");
    check_faults(&embedded, &json!({"kind": ""}), &[&missing("apiVersion"), &missing("kind")]);
}

#[test]
fn what_a_stricter_schema_does_not_take_may_stay_as_it_is() {
    let schema = |most: u32, list: &str| {
        json!({"type": "object", "properties": {
            "n": {"type": "integer", "maximum": most},
            "m": {"type": "integer", "maximum": most},
            "l": {"type": "array", "x-kubernetes-list-type": list, "items": {"type": "string"}},
        }})
    };
    let lax = kind(&schema(10, "atomic"));
    let mut given = object(&json!({"n": 9, "l": ["a", "a"]}));
    given["metadata"]["finalizers"] = json!(["example.com/a"]);
    let made = create(&lax, given);
    let strict = kind(&schema(5, "set"));
    let mut reported = made.clone();
    reported["status"] = json!({"seen": 1});
    let reported = update_status(&strict, &made, reported).unwrap();
    assert_eq!(reported["status"], json!({"seen": 1}));
    let mut freed = reported.clone();
    freed["metadata"]["finalizers"] = json!([]);
    let freed = update(&strict, &reported, freed).unwrap();
    assert_eq!(freed["metadata"].get("finalizers"), None);
    let changed = |change: Value| {
        let mut new = freed.clone();
        new["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        update(&strict, &freed, new)
    };
    changed(json!({"m": 1})).unwrap();
    let refused = |change: Value| changed(change).unwrap_err().to_string();
    assert!(refused(json!({"m": 6})).contains("spec.m: Invalid value: 6"));
    assert!(refused(json!({"n": 8})).contains("spec.n: Invalid value: 8"));
    assert!(refused(json!({"l": ["b", "b"]})).contains("spec.l[1]: Duplicate value"));
}

#[test]
fn no_more_faults_are_told_of_than_anybody_reads() {
    let list = json!({"type": "array", "items": {"type": "string"}});
    let spec = json!({"type": "object", "additionalProperties": list});
    let kind = kind(&spec);
    let faults = |key: &str, count: usize| {
        let given = object(&json!({key: vec![0; count]}));
        let error = try_create(&kind, given, &context(&kind)).unwrap_err();
        error.status().details.clone().unwrap().causes.unwrap().len()
    };
    assert_eq!(faults("k", 50), 50);
    assert_eq!(faults("k", 1000), 100);
    assert_eq!(faults("k", 100_000), 1);
    assert_eq!(faults(&"k".repeat(1 << 20), 100), 1);
}

#[test]
fn metadata_are_checked_as_those_of_other_kinds() {
    let kind = kind(&json!({"type": "object"}));
    let wrong = json!({"metadata": {"name": "A", "labels": {"a": "b c"}, "odd": 1}});
    assert_eq!(kind.decode(wrong.clone(), None).unwrap().unknown, ["metadata.odd"]);
    let error = try_create(&kind, wrong, &context(&kind)).unwrap_err().to_string();
    assert!(error.contains("metadata.name: Invalid value: \"A\""), "{error}");
    assert!(error.contains("metadata.labels: Invalid value: \"b c\""), "{error}");
    let made = create(&kind, object(&json!({})));
    assert_eq!(
        (&made["apiVersion"], &made["kind"], &made["metadata"]["namespace"]),
        (&json!("stable.example.com/v1"), &json!("CronTab"), &json!("default"))
    );
}

#[test]
fn the_status_belongs_to_its_subresource_and_counts_for_no_generation() {
    let kind = kind(&json!({"type": "object", "properties": {"n": {"type": "integer"}}}));
    let mut given = object(&json!({"n": 1}));
    given["status"] = json!({"seen": 1});
    let made = create(&kind, given.clone());
    assert_eq!((&made["status"], &made["metadata"]["generation"]), (&Value::Null, &json!(1)));
    let mut reported = made.clone();
    reported["status"] = json!({"seen": 1});
    reported["spec"]["n"] = json!(5);
    reported["metadata"]["labels"] = json!({"a": "b"});
    let reported = update_status(&kind, &made, reported).unwrap();
    assert_eq!((&reported["status"], &reported["spec"]), (&json!({"seen": 1}), &json!({"n": 1})));
    assert_eq!(reported["metadata"], made["metadata"]);
    let mut changed = reported.clone();
    changed["status"] = json!({"seen": 2});
    changed["metadata"]["labels"] = json!({"a": "b"});
    let labelled = update(&kind, &reported, changed.clone()).unwrap();
    assert_eq!(
        (&labelled["status"], &labelled["metadata"]["generation"]),
        (&json!({"seen": 1}), &json!(1))
    );
    changed["spec"]["n"] = json!(2);
    let changed = update(&kind, &labelled, changed).unwrap();
    assert_eq!(changed["metadata"]["generation"], 2);
    changed["metadata"]["uid"].as_str().unwrap();

    let whole = CustomResource { has_status: false, ..custom(&json!({"type": "object"})) };
    let made = create(&whole.build().unwrap(), given);
    assert_eq!(made["status"], json!({"seen": 1}), "without the subresource it is a field");
}

#[test]
fn a_scale_is_where_the_kind_says() {
    let path = |text: &str| text.split('.').map(str::to_owned).collect();
    let paths = ScalePaths {
        spec_replicas: path("spec.size.wanted"),
        status_replicas: path("status.size"),
        selector: SelectorPath::Text(path("status.selector")),
    };
    let object = json!({"spec": {"size": {"wanted": 3}}, "status": {"size": 2, "selector": "a=b"}});
    let scale = scale::get(&paths, &object).unwrap();
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 3}), &json!({"replicas": 2, "selector": "a=b"}))
    );
    let wanted = scale::decode(&json!({"spec": {"replicas": 7}})).unwrap().object;
    let set = |object| scale::set(&paths, &object, wanted.get().unwrap());
    assert_eq!(set(object).unwrap()["spec"], json!({"size": {"wanted": 7}}));
    assert_eq!(set(json!({})).unwrap(), json!({"spec": {"size": {"wanted": 7}}}));
    assert_eq!(set(json!({"spec": "text"})).unwrap_err().code(), 400);
}

#[test]
fn a_table_has_the_name_and_the_columns_that_are_given() {
    let headings = |kind: &ResourceDef| {
        kind.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    let mut resource = custom(&json!({"type": "object"}));
    assert_eq!(headings(&custom(&json!({})).build().unwrap()), ["Name", "Age"]);
    let column =
        Column { name: "Replicas".to_owned(), type_: "integer".to_owned(), ..Column::default() };
    resource.columns.push(PrinterColumn { column, json_path: ".spec.n".to_owned() });
    let kind = resource.build().unwrap();
    assert_eq!(headings(&kind), ["Name", "Replicas"]);
    assert_eq!(kind.row(&object(&json!({"n": 3})), now()).unwrap(), [json!("a"), json!(3)]);
    assert_eq!(kind.column_definitions()[0]["format"], "name");
}

#[test]
fn what_can_not_be_served_is_told() {
    let error = custom(&json!({"type": "no type"})).build().unwrap_err();
    assert!(matches!(error, CustomResourceError::Schema(_)), "{error}");
    // No other document is ever fetched.
    let error = custom(&json!({"$ref": "http://127.0.0.1:1/x"})).build().unwrap_err();
    assert!(matches!(error, CustomResourceError::Schema(_)), "{error}");
    let rule = json!([{"rule": "self.min <="}]);
    let ranges = json!({"type": "object", "x-kubernetes-validations": rule});
    let error = custom(&json!({"type": "array", "items": ranges})).build().unwrap_err();
    let place = "properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: ";
    assert!(error.to_string().starts_with(place), "{error}");
    let mut resource = custom(&json!({"type": "object"}));
    resource.columns.push(PrinterColumn { column: Column::default(), json_path: "x".to_owned() });
    assert_eq!(resource.build().unwrap_err().to_string(), "\"x\" is no JSONPath");
}

#[test]
fn an_object_that_defaults_make_too_large_is_refused() {
    let element = json!({"type": "object", "properties": {
        "text": {"type": "string", "default": "x".repeat(10_000)},
    }});
    let list =
        json!({"type": "object", "properties": {"list": {"type": "array", "items": element}}});
    let kind = kind(&list);
    let of = |elements: usize| object(&json!({"list": vec![json!({}); elements]}));
    assert!(create(&kind, of(100))["spec"]["list"][99]["text"].is_string());
    let error = try_create(&kind, of(10_000), &context(&kind)).unwrap_err();
    assert_eq!((error.code(), error.reason()), (422, "Invalid"));
}
