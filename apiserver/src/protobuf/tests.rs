//! Against what Kubernetes' own code encodes: `golden/objects.json` has an object of each kind, and in all of them
//! together each field of each message once.

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    decode::{Object, envelope, is_zero, message},
    schema::{MESSAGES, Message, Shape, Type, message_of},
    wire::{MAGIC, Reader, Wire, put_bytes},
    *,
};
use crate::budget::Budget;

/// What `kubectl create configmap a --from-literal=x=y` sends.
const CONFIG_MAP: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x1b\x0a\x11\x0a\x01a\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00\x12\x06\x0a\x01x\x12\x01y\x1a\0\x22\0";

#[derive(Deserialize)]
struct Golden {
    protobuf: String,
    json: Value,
}

impl Golden {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("golden/objects.json")).unwrap()
    }

    /// What has one of several alternatives, each once. That of the others has all of them, which JSON can't say.
    fn alternatives() -> Vec<Self> {
        serde_json::from_str(include_str!("golden/alternatives.json")).unwrap()
    }

    fn lists() -> Vec<Self> {
        serde_json::from_str(include_str!("golden/lists.json")).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        BASE64.decode(&self.protobuf).unwrap()
    }
}

/// Without what Go writes though there is nothing, because it never leaves it out.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), pruned(value)));
            Value::Object(fields.filter(|(_, value)| !is_zero(value)).collect())
        }
        Value::Array(elements) => {
            elements.iter().map(pruned).filter(|value| !is_zero(value)).collect()
        }
        other => other.clone(),
    }
}

#[track_caller]
fn compare(path: &str, read: &Value, expected: &Value) {
    match (read, expected) {
        (Value::Object(read), Value::Object(expected)) => {
            let fields: BTreeSet<_> = read.keys().chain(expected.keys()).collect();
            for field in fields {
                let value = |object: &Object| object.get(field).cloned().unwrap_or_default();
                compare(&format!("{path}.{field}"), &value(read), &value(expected));
            }
        }
        (Value::Array(read), Value::Array(expected)) if read.len() == expected.len() => {
            read.iter().zip(expected).for_each(|(read, expected)| compare(path, read, expected));
        }
        // Of a type that has fractions, whether or not it is written with one.
        (Value::Number(read), Value::Number(expected)) if read.is_f64() => {
            assert_eq!(read.as_f64(), expected.as_f64(), "{path}");
        }
        _ => assert_eq!(read, expected, "{path}"),
    }
}

#[test]
fn objects_with_every_field_are_read_as_kubernetes_wrote_them() {
    for golden in Golden::all() {
        let read = decode(&golden.bytes()).unwrap();
        let (read, expected) = (pruned(&read), pruned(&golden.json));
        compare("", &read, &expected);
    }
}

#[test]
fn objects_and_lists_are_written_as_kubernetes_writes_them_to_the_byte() {
    let one_of_each = Golden::alternatives();
    let is_among_these = |it: &Golden| it.json["kind"] == one_of_each[0].json["kind"];
    let all = Golden::all().into_iter().filter(|it| !is_among_these(it));
    for golden in all.chain(Golden::lists()).chain(Golden::alternatives()) {
        let written = encode(&golden.json).unwrap();
        let kind = &golden.json["kind"];
        if written != golden.bytes() {
            // The fields that differ, if they do.
            compare("", &decode(&written).unwrap(), &decode(&golden.bytes()).unwrap());
        }
        assert_eq!(BASE64.encode(&written), golden.protobuf, "{kind}");
    }
}

#[test]
fn a_list_of_items_that_are_written_one_by_one_is_the_same() {
    for Golden { json, protobuf } in Golden::lists() {
        let [api_version, kind] = ["apiVersion", "kind"].map(|it| json[it].as_str().unwrap());
        let item = kind.strip_suffix("List").unwrap();
        let list = List::new(api_version, item, &json["metadata"]).unwrap();
        let items = json["items"].as_array().unwrap();
        let written = |item: &Value| {
            let text = item.to_string();
            list.item(&mut serde_json::Deserializer::from_str(&text)).unwrap()
        };
        let items = items.iter().map(written).collect();
        assert_eq!(BASE64.encode(list.pieces(items).unwrap().concat()), protobuf, "{kind}");
    }
}

/// The objects of `tests/catalogue/`, by which every kind is taken through every verb.
fn examples() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/catalogue");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let texts = files.map(|file| fs::read_to_string(file).unwrap());
    texts.map(|text| serde_yaml::from_str(&text).unwrap()).collect()
}

#[test]
fn what_is_written_of_an_example_is_read_as_the_same() {
    let is_written =
        |it: &Value| is_known(it["apiVersion"].as_str().unwrap(), it["kind"].as_str().unwrap());
    let examples: Vec<_> = examples().into_iter().filter(is_written).collect();
    assert!(examples.len() > 50, "{}", examples.len());
    for mut example in examples {
        // Conveniences of those who write: stored it is `data`.
        example.as_object_mut().unwrap().remove("stringData");
        let read = decode(&encode(&example).unwrap()).unwrap();
        compare(&example["kind"].to_string(), &pruned(&read), &pruned(&example));
    }
}

#[test]
fn an_event_is_a_frame_around_an_object_in_its_envelope() {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
    let frame = event("ADDED", &object).unwrap();
    assert_eq!(first_length(&[&frame[..], &frame].concat()), Some((frame.len(), 4)));
    assert_eq!(first_length(&frame[..frame.len() - 1]), None);
    let mut fields = Reader::new(&frame[4..]).map(Result::unwrap);
    assert_eq!(fields.next(), Some((1, Wire::Bytes(b"ADDED"))));
    let Some((2, Wire::Bytes(raw))) = fields.next() else { panic!("no object") };
    let Some(Ok((1, Wire::Bytes(enveloped)))) = Reader::new(raw).next() else { panic!("no raw") };
    assert_eq!(enveloped, encode(&object).unwrap());
    assert_eq!(fields.next(), None);
}

#[test]
fn fields_are_put_in_order_however_they_come() {
    let text = r#"{"status":null,"frog":[{}],"spec":{"nodeName":"n","schedulerName":"s","volumes":[{"emptyDir":{},"name":"v"}],"nodeName":"m",
        "containers":[{"livenessProbe":{"periodSeconds":1,"exec":{"command":["a"]}},"name":"c"}]},"metadata":{"name":"a"}}"#;
    let value = json!({
        "metadata": {"name": "a"},
        "spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "livenessProbe": {"exec": {"command": ["a"]}, "periodSeconds": 1}}],
            "nodeName": "n", "schedulerName": "s",
        },
    });
    let metadata = json!({});
    let list = List::new("v1", "Pod", &metadata).unwrap();
    let written = list.item(&mut serde_json::Deserializer::from_str(text)).unwrap();
    assert_eq!(written, list.item(&value).unwrap());
}

#[test]
fn what_does_not_fit_is_told_by_its_field_and_not_by_its_value() {
    let check = |spec: Value, expected: &str| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
        assert_eq!(encode(&pod).unwrap_err().to_string(), expected);
    };
    check(json!({"nodeName": 7}), "spec: nodeName: a number has no form in protobuf");
    check(json!({"containers": {}}), "spec: containers: an object has no form in protobuf");
    check(json!([]), "spec: core/v1.PodSpec has no form in protobuf");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "!"}});
    let told = encode(&secret).unwrap_err().to_string();
    assert_eq!(told, "data: what is not base64 has no form in protobuf");
    let frog = json!({"apiVersion": "pond.io/v1", "kind": "Frog"});
    assert!(encode(&frog).is_err() && encode(&Value::Null).is_err());
}

#[test]
fn kinds_that_come_from_data_are_none_of_kubernetes() {
    assert!(is_known("apps/v1", "Deployment") && is_known("v1", "Pod"));
    assert!(is_known("rbac.authorization.k8s.io/v1", "Role"));
    assert!(is_known("metrics.k8s.io/v1beta1", "PodMetrics"));
    for (api_version, kind) in [
        ("apps.example.com/v1", "Deployment"),
        ("pond.io/v1", "Status"),
        ("minik8s.io/v1", "Function"),
        ("apps/v2", "Deployment"),
    ] {
        assert!(!is_known(api_version, kind), "{api_version} {kind}");
    }
}

#[test]
fn times_before_1970_are_counted_to_the_second() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "1969-12-31T23:59:58.5Z"}});
    let read = decode(&encode(&pod).unwrap()).unwrap();
    assert_eq!(read["metadata"]["creationTimestamp"], "1969-12-31T23:59:58Z");
}

/// Some part of a value.
fn part(value: &mut Value, which: usize) -> &mut Value {
    let count = match value {
        Value::Object(fields) => fields.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if count == 0 || which.is_multiple_of(11) {
        return value;
    }
    let inner = match value {
        Value::Object(fields) => fields.values_mut().nth(which % count),
        Value::Array(items) => items.get_mut(which % count),
        _ => None,
    };
    part(inner.unwrap(), which / count)
}

proptest! {
    /// What does not fit is told, and what fits is read.
    #[test]
    fn no_value_is_worse_than_a_misfit(at in 0..60_usize, which: usize, junk in 0..8_usize) {
        let others = json!([null, true, -1, 0.5, "text", "9999-99-99T00:00:00Z", [[]], {"a": {}}]);
        let mut object = Golden::all()[at].json.clone();
        *part(&mut object, which) = others[junk].clone();
        if let Ok(bytes) = encode(&object) {
            prop_assert!(decode(&bytes).is_ok(), "{}", object);
        }
    }

    /// Also where the beginning is as it should be.
    #[test]
    fn no_bytes_are_worse_than_malformed(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..100_usize) {
        let mut body = Golden::all()[at % 60].bytes();
        let place = at * body.len() / 100;
        body.splice(place..place, bytes.iter().copied());
        for read in [decode(&bytes), decode(&body)] {
            let code = read.map_or_else(|error| error.code(), |_| 200);
            prop_assert!([200, 400, 415].contains(&code), "{}", code);
        }
    }
}

#[test]
fn every_kind_of_kubernetes_is_among_them() {
    let all = Golden::all();
    let have: BTreeSet<_> = all.iter().filter_map(|golden| golden.json["kind"].as_str()).collect();
    for def in registry::all().iter().filter(|def| def.names.group != "minik8s.io") {
        assert!(have.contains(def.names.kind.as_str()), "{}", def.names.kind);
    }
}

#[test]
fn every_line_of_the_table_is_in_use() {
    let mut used = BTreeSet::new();
    for golden in Golden::all() {
        let bytes = golden.bytes();
        let (api_version, kind, raw) = envelope(bytes.strip_prefix(MAGIC).unwrap()).unwrap();
        walk(message_of(&api_version, &kind).unwrap(), raw, &mut used);
    }
    for message in &MESSAGES.all {
        for field in &message.fields {
            assert!(used.contains(&(message.name, field.number)), "{}: {field:?}", message.name);
        }
    }
}

/// Notes the fields of a message; each must be in the table.
fn walk(message: &'static Message, bytes: &[u8], used: &mut BTreeSet<(&'static str, u64)>) {
    for field in Reader::new(bytes) {
        let (number, wire) = field.unwrap();
        let name = message.name;
        let field = message.field(number).unwrap_or_else(|| panic!("{name} lacks {number}"));
        used.insert((name, number));
        let (Type::Message(at), Wire::Bytes(mut bytes)) = (field.type_, wire) else { continue };
        if field.shape == Shape::Map {
            let mut entry = Reader::new(bytes).map(Result::unwrap);
            let Some((2, Wire::Bytes(value))) = entry.find(|(number, _)| *number == 2) else {
                continue;
            };
            bytes = value;
        }
        walk(&MESSAGES.all[at], bytes, used);
    }
}

#[test]
fn a_config_map_of_kubectl_is_read() {
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "y"},
    });
    assert_eq!(decode(CONFIG_MAP).unwrap(), expected);
}

#[test]
fn every_message_has_its_fields_in_their_order() {
    assert!(MESSAGES.all.len() > 500);
    for message in &MESSAGES.all {
        assert!(message.fields.is_sorted_by_key(|field| field.number), "{}", message.name);
        for field in &message.fields {
            let found = message.field(field.number).map(|found| found.name);
            assert_eq!(found, Some(field.name), "{}", message.name);
            // What stands in its place has fields of its own.
            assert!(!field.name.is_empty() || matches!(field.type_, Type::Message(_)));
        }
    }
}

#[test]
fn what_is_cut_off_or_unknown_is_refused() {
    for end in [0, 3, 10, 30, CONFIG_MAP.len() - 8] {
        assert_eq!(decode(&CONFIG_MAP[..end]).unwrap_err().code(), 400, "{end}");
    }
    let frog = b"k8s\0\x0a\x0a\x0a\x02v1\x12\x04Frog\x12\0";
    assert_eq!(decode(frog).unwrap_err().code(), 415);
}

#[test]
fn a_schema_within_a_schema_is_read_and_without_end_is_refused() {
    // A field of bytes: its number, their length, and they.
    let field = |number: u8, bytes: &[u8]| {
        let seven = |shift: usize| u8::try_from((bytes.len() >> shift) & 0x7f).unwrap();
        let head = [(number << 3) | 2, seven(0) | 0x80, seven(7) | 0x80, seven(14)];
        [&head[..], bytes].concat()
    };
    let nested = |depth: usize| {
        let innermost = field(5, b"string");
        (0..depth).fold(innermost, |inner, _| {
            // `items`, whose alternatives are a schema and several.
            [vec![0xc2, 0x01], field(0, &field(1, &inner))[1..].to_vec()].concat()
        })
    };
    let schema = MESSAGES.named("apiextensions/v1.JSONSchemaProps").unwrap();
    let read = |bytes: &[u8]| message(schema, bytes, 0, &Budget::default());
    let nested_twice = json!(read(&nested(2)).unwrap());
    assert_eq!(nested_twice, json!({"items": {"items": {"type": "string"}}}));
    assert!(read(&nested(1000)).is_err());
}

#[test]
fn few_bytes_that_say_too_many_values_are_refused() {
    let pod = |containers: usize| {
        let (mut pod, mut body) = (Vec::new(), MAGIC.to_vec());
        put_bytes(&mut pod, 2, &b"\x12\0".repeat(containers));
        put_bytes(&mut body, 1, b"\x0a\x02v1\x12\x03Pod");
        put_bytes(&mut body, 2, &pod);
        decode(&body)
    };
    let read = pod(10_000).unwrap();
    assert_eq!(read["spec"]["containers"].as_array().map(Vec::len), Some(10_000));
    let refused = pod(1 << 20).unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.to_string()),
        (400, "the body has more than 1048576 values")
    );
}
