//! The rules of `sigs.k8s.io/structured-merge-diff`: what is owned, merged, taken away and refused.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(clippy::needless_pass_by_value, reason = "a table of `json!` is easier to read")]

use std::collections::BTreeSet;

use api_machinery::{
    extent::MAX_DEPTH,
    managed_fields::{
        Applied, Conflicts, FieldSet, Manager, Managers, Misfit, Rules, Shapes, apply, check,
        compare, fields_of_created, merge, set_of, update, without,
    },
};
use api_types::jiff::Timestamp;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};

fn fields_v1(set: &FieldSet) -> Value {
    serde_json::from_str(set.to_fields_v1().get()).unwrap()
}

/// A kind with a list of each sort.
fn shapes() -> Shapes {
    let port = json!({"type": "object", "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"},
        "name": {"type": "string"},
    }});
    let keyed = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"], "items": port});
    let named = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": {"$ref": "#/$defs/Item"}});
    Shapes::of_schema(&json!({
        "type": "object",
        "properties": {
            "number": {"type": "integer"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": keyed,
            "items": named,
            "args": {"type": "array", "items": {"type": "string"}},
            "selector": {"type": "object", "x-kubernetes-map-type": "atomic",
                "additionalProperties": {"type": "string"}},
            "inner": {"$ref": "#/$defs/Item"},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
        },
        "$defs": {"Item": {"type": "object", "properties": {
            "name": {"type": "string"}, "value": {"type": "integer"},
            "items": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "items": {"$ref": "#/$defs/Item"}},
        }}},
    }))
}

fn manager(name: &str, applies: bool) -> Manager {
    Manager {
        name: name.to_owned(),
        applies,
        api_version: "v1".to_owned(),
        subresource: String::new(),
    }
}

/// A server that knows what `selector` is in any case.
fn completed(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(selector) = object["selector"].as_object_mut() {
        selector.entry("os").or_insert_with(|| json!("linux"));
    }
    object
}

/// An object and who manages it.
struct Object {
    shapes: Shapes,
    now: Applied,
}

impl Object {
    fn new() -> Self {
        Self { shapes: shapes(), now: Applied { object: json!({}), managers: Managers::default() } }
    }

    fn try_apply(&mut self, name: &str, config: &Value, is_forced: bool) -> Result<(), Conflicts> {
        let Applied { object, managers } = &self.now;
        let how = (is_forced, Timestamp::UNIX_EPOCH);
        let root = self.shapes.root();
        let rules = Rules { owned: FieldSet::clone, completed };
        self.now = apply((object, managers), config, root, &manager(name, true), &rules, how)?;
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, name: &str, config: Value) -> &mut Self {
        self.try_apply(name, &config, false).unwrap();
        self
    }

    #[track_caller]
    fn is_refused(&mut self, name: &str, config: Value, owner: &str, paths: &[&str]) -> &mut Self {
        let Conflicts(conflicts) = self.try_apply(name, &config, false).unwrap_err();
        let told: Vec<_> =
            conflicts.iter().map(|c| (c.manager.name.as_str(), c.fields.paths())).collect();
        let paths = paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert_eq!(told, [(owner, paths)]);
        self
    }

    fn update(&mut self, name: &str, new: Value) -> &mut Self {
        let Applied { object, managers } = &self.now;
        let (root, at) = (self.shapes.root(), Timestamp::UNIX_EPOCH);
        let (managers, writer) = (managers.clone(), manager(name, false));
        let managers = update((object, &new), managers, root, &writer, FieldSet::clone, at);
        self.now = Applied { object: new, managers };
        self
    }

    #[track_caller]
    fn is(&mut self, object: Value) -> &mut Self {
        assert_eq!(self.now.object, object);
        self
    }

    #[track_caller]
    fn owns(&mut self, name: &str, applies: bool, fields: Value) -> &mut Self {
        let set = self.now.managers.get(&manager(name, applies)).cloned().unwrap_or_default();
        assert_eq!(fields_v1(&set), fields);
        self
    }
}

#[test]
fn a_configuration_owns_what_it_speaks_of() {
    let shapes = shapes();
    let owned = |value: Value| fields_v1(&set_of(&value, shapes.root()));
    assert_eq!(
        owned(json!({"number": 1, "labels": {"a": "b"}, "args": ["x"], "selector": {"a": "b"}})),
        json!({"f:number": {}, "f:labels": {"f:a": {}}, "f:args": {}, "f:selector": {}})
    );
    assert_eq!(
        owned(json!({"set": ["a"], "ports": [{"port": 80, "name": "web"}], "labels": {}})),
        json!({"f:set": {"v:\"a\"": {}}, "f:labels": {},
            "f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:name": {}, "f:port": {}}}})
    );
    assert_eq!(
        owned(json!({"inner": {"items": [{"name": "a", "value": 1}]}, "any": {"x": {"y": [1]}}})),
        json!({"f:inner": {"f:items": {r#"k:{"name":"a"}"#: {".": {}, "f:name": {}, "f:value": {}}}},
            "f:any": {"f:x": {".": {}, "f:y": {}}}})
    );
}

#[test]
fn what_does_not_fit_the_kind_is_refused_with_its_path() {
    let shapes = shapes();
    let misfit = |value: Value| check(&value, shapes.root()).unwrap_err().to_string();
    assert_eq!(misfit(json!({"inner": {"x": 1}})), ".inner.x: field not declared in schema");
    assert_eq!(
        misfit(json!({"items": [{"name": "a"}, {"name": "a"}]})),
        r#".items: duplicate entries for key [name="a"]"#
    );
    let keyless = check(&json!({"items": [{"value": 1}]}), shapes.root()).unwrap_err();
    let why = "element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)";
    assert_eq!(keyless, Misfit { path: ".items".to_owned(), why: why.to_owned() });
    check(&json!({"any": {"x": 1}, "items": [{"name": "a"}]}), shapes.root()).unwrap();
}

#[test]
fn lists_are_merged_by_key_in_the_configurations_order() {
    let shapes = shapes();
    let merged = |field: &str, live: Value, config: Value| {
        merge(&json!({field: live}), &json!({field: config}), shapes.root())[field].take()
    };
    let item = |name: &str, value: i32| json!({"name": name, "value": value});
    assert_eq!(
        merged("items", json!([item("a", 1), item("b", 1)]), json!([item("b", 2), item("c", 2)])),
        json!([item("a", 1), item("b", 2), item("c", 2)])
    );
    assert_eq!(
        merged("items", json!([item("a", 1), item("b", 1)]), json!([item("b", 2), item("a", 2)])),
        json!([item("b", 2), item("a", 2)])
    );
    assert_eq!(merged("set", json!(["x", "a"]), json!(["c", "a"])), json!(["x", "c", "a"]));
    let set = |live: &str, config: &str| {
        let list = |text: &str| json!(text.split(' ').collect::<Vec<_>>());
        merged("set", list(live), list(config))
    };
    assert_eq!(set("a x b", "b a"), json!(["x", "b", "a"]));
    assert_eq!(set("a b x", "b c a"), json!(["b", "x", "c", "a"]));
    assert_eq!(merged("args", json!(["x"]), json!(["y"])), json!(["y"]));
    // The default of a key field is part of the key.
    assert_eq!(
        merged("ports", json!([{"port": 1, "protocol": "TCP"}]), json!([{"port": 1, "name": "a"}])),
        json!([{"port": 1, "protocol": "TCP", "name": "a"}])
    );
}

#[test]
fn a_field_of_another_is_refused_and_can_be_forced() {
    let mut object = Object::new();
    object.apply("one", json!({"number": 1, "labels": {"a": "1"}}));
    object.is_refused("two", json!({"number": 2, "labels": {"b": "2"}}), "one", &[".number"]);
    object.is(json!({"number": 1, "labels": {"a": "1"}}));
    object.try_apply("two", &json!({"number": 2}), true).unwrap();
    object.is(json!({"number": 2, "labels": {"a": "1"}}));
    object.owns("two", true, json!({"f:number": {}}));
    object.owns("one", true, json!({"f:labels": {"f:a": {}}}));
    object.is_refused("three", json!({"number": 3, "labels": {"a": "1"}}), "two", &[".number"]);
}

#[test]
fn the_same_value_is_shared_and_stays_as_long_as_one_has_it() {
    let mut object = Object::new();
    object.apply("one", json!({"number": 1})).apply("two", json!({"number": 1}));
    object.apply("one", json!({})).is(json!({"number": 1}));
    object.owns("one", true, json!({}));
    object.apply("two", json!({})).is(json!({}));
}

#[test]
fn what_its_manager_no_longer_applies_goes() {
    let item = |name: &str| json!({"name": name, "value": 1});
    let mut object = Object::new();
    object.apply("one", json!({"items": [item("a"), item("b")], "labels": {"a": "1", "b": "1"}}));
    object.apply("two", json!({"items": [{"name": "b", "items": []}], "set": ["x"]}));
    object.apply("one", json!({"items": [item("a")], "labels": {"b": "1"}}));
    // Another still has the element, but not its value.
    object.is(json!({"items": [item("a"), {"name": "b", "items": []}], "labels": {"b": "1"},
        "set": ["x"]}));
    object.apply("one", json!({"labels": {"b": "1"}}));
    object.is(json!({"items": [{"name": "b", "items": []}], "labels": {"b": "1"}, "set": ["x"]}));
    object.apply("two", json!({"set": ["y"]})).is(json!({"labels": {"b": "1"}, "set": ["y"]}));
}

/// What nobody manages, such as a default, goes with the structure that it is in, and with nothing else.
#[test]
fn what_nobody_manages_stays_beside_what_goes() {
    let mut object = Object::new();
    object.now.object = json!({"labels": {"a": "1"}, "inner": {"value": 7}});
    object.apply("one", json!({"number": 1, "labels": {"b": "1"}, "inner": {"name": "a"}}));
    object.is(json!({"number": 1, "labels": {"a": "1", "b": "1"},
        "inner": {"name": "a", "value": 7}}));
    object.apply("one", json!({"labels": {"c": "1"}}));
    object.is(json!({"labels": {"a": "1", "c": "1"}}));
}

#[test]
fn another_write_takes_over_what_it_changes() {
    let mut object = Object::new();
    object.apply("one", json!({"number": 1, "labels": {"a": "1", "b": "1"}, "args": ["x"]}));
    object.update("edit", json!({"number": 2, "labels": {"a": "1"}, "args": ["x"], "set": ["s"]}));
    object.owns("one", true, json!({"f:labels": {"f:a": {}}, "f:args": {}}));
    object.owns("edit", false, json!({"f:number": {}, "f:set": {".": {}, "v:\"s\"": {}}}));
    object.is_refused("one", json!({"number": 1}), "edit", &[".number"]);
    // Without it the manager lets go of it.
    object.apply("one", json!({"labels": {"a": "1"}}));
    object.is(json!({"number": 2, "labels": {"a": "1"}, "set": ["s"]}));
}

#[test]
fn a_whole_is_owned_as_a_whole() {
    let mut object = Object::new();
    object.apply("one", json!({"selector": {"a": "1"}, "args": ["x"]}));
    let other = json!({"selector": {"b": "1"}, "args": ["y"]});
    object.is_refused("two", other, "one", &[".args", ".selector"]);
    object.apply("one", json!({"selector": {"c": "1"}})).is(json!({"selector": {"c": "1"}}));
}

/// An empty `annotations:` in a manifest wipes nobody's.
#[test]
fn null_says_nothing_of_what_others_have_below() {
    let mut object = Object::new();
    object.apply("one", json!({"labels": {"a": "1"}, "items": [{"name": "a"}], "number": 1}));
    object.apply("two", json!({"labels": null, "items": null}));
    object.is(json!({"labels": {"a": "1"}, "items": [{"name": "a"}], "number": 1}));
    object.is_refused("two", json!({"number": null}), "one", &[".number"]);
    object.is_refused("two", json!({"labels": {"a": null}}), "one", &[".labels.a"]);
}

#[test]
fn what_another_version_names_is_not_taken_away() {
    let mut object = Object::new();
    let mut other = manager("other", true);
    other.api_version = "v2".to_owned();
    object.apply("one", json!({"number": 1}));
    let set = object.now.managers.get(&manager("one", true)).cloned().unwrap();
    object.now.managers.set(other, set, Timestamp::UNIX_EPOCH);
    object.apply("one", json!({})).is(json!({"number": 1}));
}

#[test]
fn who_applies_in_another_version_takes_away_what_it_applied_before() {
    let mut object = Object::new();
    object.apply("one", json!({"number": 1, "labels": {"a": "1"}}));
    let (now, mut before) = (manager("one", true), manager("one", true));
    before.api_version = "v1beta1".to_owned();
    object.now.managers.hand_over(&now, &before, &FieldSet::default());
    object.apply("one", json!({"labels": {"a": "1"}})).is(json!({"labels": {"a": "1"}}));
    object.owns("one", true, json!({"f:labels": {"f:a": {}}}));
    assert_eq!(object.now.managers.get(&before), None);
}

/// Lists of many elements, as finalizers or sets of custom resources may be, in time that grows with them.
#[test]
fn long_lists_are_merged_by_position() {
    let list: Vec<String> = (0..50_000).map(|n| format!("e{n}")).collect();
    let mut object = Object::new();
    object.apply("one", json!({"set": list})).apply("one", json!({"set": list}));
    assert_eq!(object.now.object["set"].as_array().unwrap().len(), 50_000);
}

#[test]
fn what_the_server_completes_is_no_conflict() {
    let mut object = Object::new();
    object.apply("one", json!({"selector": {"a": "1"}}));
    object.now.object = completed(&object.now.object);
    object.apply("two", json!({"selector": {"a": "1"}}));
    object.owns("one", true, json!({"f:selector": {}})).owns(
        "two",
        true,
        json!({"f:selector": {}}),
    );
    let other = json!({"selector": {"a": "2"}});
    object.is_refused("two", other, "one", &[".selector"]);
}

#[test]
fn old_updaters_become_ancient_changes() {
    let mut object = Object::new();
    for number in 0..15 {
        let mut new = object.now.object.clone();
        new["labels"][format!("l{number}")] = json!("x");
        object.update(&format!("writer-{number:02}"), new);
        assert_eq!(entries(&object).len(), (number + 1).min(10));
    }
    let entries = entries(&object);
    assert!(entries.iter().any(|entry| entry["manager"] == "ancient-changes"));
    let mut all = FieldSet::default();
    for entry in &entries {
        all = all.union(&FieldSet::deserialize(&entry["fieldsV1"]).unwrap());
    }
    // Each label, and the map itself, which came with the first.
    assert_eq!(all.paths().len(), 16);
}

#[test]
fn a_managers_time_is_that_of_its_latest_write() {
    let (shapes, me) = (shapes(), manager("me", false));
    let number = |number: i32| json!({"number": number});
    let mut managers = Managers::default();
    for (second, old, new, expected) in
        [(1, json!({}), number(1), 1), (2, number(1), number(2), 2), (3, number(2), number(2), 2)]
    {
        let now = Timestamp::from_second(second).unwrap();
        let root = shapes.root();
        managers = update((&old, &new), managers, root, &me, FieldSet::clone, now);
        assert_eq!(managers.time(&me).map(|time| time.as_second()), Some(expected));
    }
}

/// What an object says of its managers.
fn entries(object: &Object) -> Vec<Value> {
    let entries = object.now.managers.entries().unwrap();
    serde_json::from_str(entries.get()).unwrap()
}

#[test]
fn entries_are_read_as_they_were_written() {
    let mut object = Object::new();
    object.apply("one", json!({"ports": [{"port": 1}], "set": ["a"], "labels": {"x/y": "z"}}));
    object.update("edit", json!({"number": 1}));
    let written = object.now.managers.entries().unwrap();
    assert_eq!(Managers::of(&written), Some(object.now.managers.clone()));
    let again = Managers::of(&written).unwrap().entries().unwrap();
    assert_eq!(again.get(), written.get());
    let mut odd = entries(&object);
    odd[0]["fieldsV1"] = json!({"x:odd": {}});
    let [of, given] =
        [Managers::of, Managers::given].map(|read| read(&to_raw_value(&odd).unwrap()));
    assert!(of.is_some() && given.is_none());
    odd[0]["fieldsType"] = json!("FieldsV2");
    assert_eq!(Managers::of(&to_raw_value(&odd).unwrap()), None);
}

#[test]
fn what_is_no_set_of_paths_is_not_read() {
    let read = |text: &str| serde_json::from_str::<FieldSet>(text);
    let paths = |text: &str| read(text).unwrap().paths();
    assert_eq!(paths(r#"{"f:a":{".":{},"k:{\"b\":1}":{}}}"#), [".a", ".a[b=1]"]);
    assert_eq!(paths(r#"{"f:a":{".":null,"f:\u0062":{}}}"#), [".a", ".a.b"]);
    let nested = |depth: usize| format!("{}{{}}{}", r#"{"f:a":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(paths(&nested(MAX_DEPTH)).len(), 1);
    for odd in [r#"{"x:odd":{}}"#, r#"{"i:x":{}}"#, r#"{"k:1":{}}"#, r#"{"f:a":1}"#, "[]"] {
        assert!(read(odd).is_err(), "{odd}");
    }
    assert!(read(&nested(MAX_DEPTH + 1)).is_err());
}

/// What a new object has is what it has beside nothing.
#[track_caller]
fn has_created(shapes: &Shapes, object: Value, fields: Value) {
    let created =
        fields_of_created(object.to_string().as_bytes(), shapes.root(), &FieldSet::default());
    let compared = compare(&json!({}), &object, shapes.root()).changed();
    assert_eq!(created.unwrap().get(), compared.to_fields_v1().get());
    assert_eq!(fields_v1(&compared), fields);
}

#[test]
fn who_creates_an_object_has_all_that_it_says() {
    has_created(
        &shapes(),
        json!({
            "number": 1, "labels": {"a": "1", "x\"": "2"}, "set": ["b", "a", "b"], "args": ["x"],
            "ports": [{"port": 2, "name": "z"}, {"port": 1, "protocol": "UDP"}], "items": [],
            "selector": {"a": "1"}, "inner": {"name": "n", "items": [{"name": "i", "value": null}]},
            "any": {"x": [1], "y": {}},
        }),
        json!({
            "f:number": {}, "f:labels": {".": {}, "f:a": {}, "f:x\"": {}}, "f:args": {},
            "f:set": {".": {}, r#"v:"a""#: {}, r#"v:"b""#: {}}, "f:items": {}, "f:selector": {},
            "f:ports": {
                ".": {},
                r#"k:{"port":1,"protocol":"UDP"}"#: {".": {}, "f:port": {}, "f:protocol": {}},
                r#"k:{"port":2,"protocol":"TCP"}"#: {".": {}, "f:name": {}, "f:port": {}},
            },
            "f:inner": {".": {}, "f:name": {}, "f:items": {
                ".": {}, r#"k:{"name":"i"}"#: {".": {}, "f:name": {}, "f:value": {}},
            }},
            "f:any": {".": {}, "f:x": {}, "f:y": {}},
        }),
    );
}

/// In Go a Deployment has a `spec`, a `strategy` and a `template` whatever is said of them, but no `rollingUpdate`.
#[test]
fn structures_that_are_always_there_are_nobodys() {
    let spec = |properties: Value| json!({"type": "object", "properties": properties});
    let text = json!({"type": "string"});
    let shapes = Shapes::of_schema(&json!({
        "title": "io.k8s.api.apps.v1.Deployment",
        "type": "object",
        "properties": {"spec": {"$ref": "#/$defs/io.k8s.api.apps.v1.DeploymentSpec"}},
        "$defs": {"io.k8s.api.apps.v1.DeploymentSpec": spec(json!({
            "strategy": spec(json!({"type": text, "rollingUpdate": spec(json!({"maxSurge": text}))})),
            "selector": spec(json!({"a": text})),
        }))},
    }));
    let strategy = json!({"type": "x", "rollingUpdate": {"maxSurge": "1"}});
    has_created(
        &shapes,
        json!({"spec": {"strategy": strategy, "selector": {}}}),
        json!({"f:spec": {
            "f:selector": {},
            "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
        }}),
    );
    has_created(&shapes, json!({"spec": {"strategy": {}}}), json!({}));
    let removed =
        compare(&json!({"spec": {"strategy": strategy}}), &json!({}), shapes.root()).removed;
    let paths = [
        ".spec.strategy.type",
        ".spec.strategy.rollingUpdate",
        ".spec.strategy.rollingUpdate.maxSurge",
    ];
    assert_eq!(BTreeSet::from_iter(removed.paths()), BTreeSet::from(paths.map(str::to_owned)));
}

fn value() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let item = (name(), prop::option::of(0..3)).prop_map(|(name, value)| match value {
        Some(value) => json!({"name": name, "value": value}),
        None => json!({"name": name}),
    });
    let items = prop::collection::vec(item, 0..4).prop_map(|items| {
        let mut seen = std::collections::BTreeSet::new();
        let is_new = |item: &Value| seen.insert(item["name"].to_string());
        Value::Array(items.into_iter().filter(is_new).collect())
    });
    let labels = prop::collection::btree_map(name(), name(), 0..3);
    let set = prop::collection::btree_set(name(), 0..3);
    let maybe = |what| prop::option::of(what);
    (
        maybe((0..3).boxed()),
        prop::option::of(labels),
        prop::option::of(set),
        prop::option::of(items),
    )
        .prop_map(|(number, labels, set, items)| {
            let mut object = json!({});
            number.into_iter().for_each(|n| object["number"] = json!(n));
            labels.into_iter().for_each(|l| object["labels"] = json!(l));
            set.into_iter().for_each(|s| object["set"] = json!(s));
            items.into_iter().for_each(|i| object["items"] = i);
            object
        })
}

proptest! {
    /// Whatever there was: a configuration that is applied with force is there afterwards, is its manager's, and once more changes nothing.
    #[test]
    fn what_is_applied_is_there(live in value(), first in value(), second in value()) {
        let mut object = Object::new();
        object.update("before", live);
        for config in [&first, &second] {
            object.try_apply("one", config, true).unwrap();
            let there = merge(&object.now.object, config, object.shapes.root());
            prop_assert_eq!(&there, &object.now.object);
            let set = set_of(config, object.shapes.root());
            let own = object.now.managers.get(&manager("one", true)).cloned().unwrap_or_default();
            prop_assert_eq!(&own, &set);
            let before = object.now.clone();
            object.try_apply("one", config, false).unwrap();
            prop_assert_eq!(&before, &object.now);
        }
    }

    /// Two managers: what one has is not changed by the other without force.
    #[test]
    fn nobody_loses_a_field_unasked(one in value(), two in value()) {
        let mut object = Object::new();
        object.try_apply("one", &one, false).unwrap();
        let _ = object.try_apply("two", &two, false);
        let there = merge(&object.now.object, &one, object.shapes.root());
        prop_assert!(same_but_for_order(&there, &object.now.object), "{:?}", object.now.object);
    }

    /// A comparison tells all differences: what was added, taken away, it leads from one value to the other.
    #[test]
    fn a_comparison_is_whole(old in value(), new in value()) {
        let shapes = shapes();
        let comparison = compare(&old, &new, shapes.root());
        prop_assert_eq!(old == new || same_but_for_order(&old, &new),
            comparison.changed().is_empty() && comparison.removed.is_empty());
        let left = without(&old, &comparison.removed, shapes.root());
        let again = compare(&merge(&left, &new, shapes.root()), &new, shapes.root());
        prop_assert!(again.removed.is_empty() && again.added.is_empty() && again.modified.is_empty(), "{:?}", again);
    }

    /// Sets are sets.
    #[test]
    fn sets_keep_their_laws(a in value(), b in value()) {
        let shapes = shapes();
        let (a, b) = (set_of(&a, shapes.root()), set_of(&b, shapes.root()));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), a.difference(&a.difference(&b)));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.is_within(&b), a.difference(&b).is_empty());
        prop_assert!(a.is_within(&a.union(&b)));
        prop_assert_eq!(serde_json::from_str::<FieldSet>(a.to_fields_v1().get()).unwrap(), a);
    }
}

/// The order of a list is nobody's.
fn same_but_for_order(a: &Value, b: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut value = value.clone();
        for list in ["items", "set"] {
            if let Some(list) = value[list].as_array_mut() {
                list.sort_by_key(Value::to_string);
            }
        }
        value.as_object_mut().unwrap().retain(|_, v| !v.is_null());
        value
    };
    sorted(a) == sorted(b)
}
