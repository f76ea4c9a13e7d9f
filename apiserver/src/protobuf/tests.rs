//! Against what Kubernetes' own code encodes: `golden/objects.json` has an object of each kind, and in all of them
//! together each field of each message once.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::*;

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
        let name = message_name(&api_version, &kind).unwrap();
        walk(&name, raw, &mut used);
    }
    for (name, fields) in MESSAGES.iter() {
        for (number, field) in fields {
            assert!(used.contains(&(name.to_string(), *number)), "{name}: {number} {field:?}");
        }
    }
}

/// Notes the fields of a message; each must be in the table.
fn walk(name: &str, bytes: &[u8], used: &mut BTreeSet<(String, u64)>) {
    for field in Reader::new(bytes) {
        let (number, wire) = field.unwrap();
        let field = MESSAGES[name].get(&number).unwrap_or_else(|| panic!("{name} lacks {number}"));
        used.insert((name.to_owned(), number));
        let (true, Wire::Bytes(mut bytes)) = (MESSAGES.contains_key(field.type_), wire) else {
            continue;
        };
        if field.shape == Shape::Map {
            let mut entry = Reader::new(bytes).map(Result::unwrap);
            let Some((2, Wire::Bytes(value))) = entry.find(|(number, _)| *number == 2) else {
                continue;
            };
            bytes = value;
        }
        walk(field.type_, bytes, used);
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
fn every_type_of_the_table_is_in_the_table() {
    const KNOWN: &[&str] = &[
        "bool",
        "int32",
        "int64",
        "double",
        "string",
        "bytes",
        "time",
        "microtime",
        "quantity",
        "intorstring",
        "strings",
        "raw",
    ];
    for (name, fields) in MESSAGES.iter() {
        for field in fields.values() {
            let known = KNOWN.contains(&field.type_) || MESSAGES.contains_key(field.type_);
            assert!(known, "{name}: {field:?}");
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
    let read = message("apiextensions/v1.JSONSchemaProps", &nested(2), 0).unwrap();
    assert_eq!(json!(read), json!({"items": {"items": {"type": "string"}}}));
    assert!(message("apiextensions/v1.JSONSchemaProps", &nested(1000), 0).is_err());
}
