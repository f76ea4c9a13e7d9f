//! Against what Kubernetes' own serializer encodes (`golden/`), and what nobody should send.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{decode::Fault, *};

#[derive(Deserialize)]
struct Golden {
    cbor: String,
    json: Value,
}

impl Golden {
    fn all(text: &str) -> Vec<Self> {
        serde_json::from_str(text).unwrap()
    }
}

#[test]
fn what_kubernetes_writes_is_read() {
    let typed = Golden::all(include_str!("golden/typed.json"));
    for Golden { cbor, json } in
        typed.into_iter().chain(Golden::all(include_str!("golden/untyped.json")))
    {
        assert_eq!(decode(&BASE64.decode(cbor).unwrap()).unwrap(), json);
    }
}

/// Of its own types it writes the fields in their order.
#[test]
fn objects_without_a_type_are_written_as_kubernetes_writes_them_to_the_byte() {
    for Golden { cbor, json } in Golden::all(include_str!("golden/untyped.json")) {
        assert_eq!(BASE64.encode(encode(&json)), cbor);
    }
}

#[test]
fn an_event_has_a_document_within_and_a_list_has_none() {
    let object = json!({"kind": "Pod", "metadata": {"name": "a"}});
    let bytes = event("ADDED", &object);
    assert_eq!(decode(&bytes).unwrap(), json!({"type": "ADDED", "object": object}));
    assert_eq!(bytes.windows(3).filter(|it| it == b"\xd9\xd9\xf7").count(), 2);
    assert_eq!(first_length(&[&bytes[..], &bytes].concat()), Some(bytes.len()));
    assert_eq!(first_length(&bytes[..bytes.len() - 1]), None);
    let metadata = json!({"resourceVersion": "7"});
    let head = list("v1", "PodList", &metadata, 2);
    let whole = [head, item(&object).unwrap(), item(&object).unwrap()].concat();
    let expected = json!({
        "apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": [object, object],
    });
    assert_eq!(decode(&whole).unwrap(), expected);
}

#[track_caller]
fn check(bytes: &[u8], expected: Result<Value, &str>) {
    let found = decode(bytes).map_err(|fault| fault.to_string());
    assert_eq!(found, expected.map_err(str::to_owned), "{bytes:02x?}");
}

#[test]
fn other_ways_to_say_the_same_are_read() {
    check(b"\x61a", Ok(json!("a")));
    check(b"\x41a", Ok(json!("a")));
    check(b"\x7f\x61a\x61b\xff", Ok(json!("ab")));
    check(b"\x5f\x41a\x41b\xff", Ok(json!("ab")));
    check(b"\x9f\x01\xff", Ok(json!([1])));
    check(b"\xbf\x61a\x01\xff", Ok(json!({"a": 1})));
    check(b"\xf9\x38\x00", Ok(json!(0.5)));
    check(b"\x18\x01", Ok(json!(1)));
    check(b"\xd9\xd9\xf7\xf6", Ok(Value::Null));
    check(b"\xd8\x64\x01", Ok(json!(1)));
}

#[test]
fn tags_say_what_bytes_and_numbers_are() {
    check(b"\xd6\x42\x00\xff", Ok(json!("AP8=")));
    check(b"\xd5\x42\x00\xff", Ok(json!("AP8")));
    check(b"\xd7\x42\x00\xff", Ok(json!("00ff")));
    check(b"\xd6\x82\x42\x00\xff\xd7\x41\xff", Ok(json!(["AP8=", "ff"])));
    check(b"\xd6\xa1\x61a\x41\xff", Ok(json!({"a": "/w=="})));
    check(b"\xd6\x61a", Ok(json!("a")));
    check(b"\xc0\x742023-11-14T22:13:20Z", Ok(json!("2023-11-14T22:13:20Z")));
    check(b"\xc1\x1a\x65\x53\xf1\x00", Ok(json!("2023-11-14T22:13:20Z")));
    check(b"\xc1\xfb\x41\xd9\x54\xfc\x40\x20\x00\x00", Ok(json!("2023-11-14T22:13:20.5Z")));
    let no_time =
        "cbor: cannot unmarshal what is tagged as a time and is none into a value of JSON";
    check(b"\xc0\x61a", Err(no_time));
    check(b"\xc1\xfb\x7e\x37\xe4\x3c\x88\x00\x75\x9c", Err(no_time));
    check(
        b"\xc2\x41\x01",
        Err("cbor: cannot unmarshal an integer of any length into a value of JSON"),
    );
}

#[test]
fn what_json_cannot_say_is_refused() {
    let refused = |bytes: &[u8], what: &str| {
        check(bytes, Err(&format!("cbor: cannot unmarshal {what} into a value of JSON")));
    };
    refused(b"\xf9\x7e\x00", "NaN");
    refused(b"\xf9\x7c\x00", "inf");
    refused(b"\xf7", "undefined");
    refused(b"\xe0", "simple");
    refused(
        b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
        "18446744073709551615, which overflows int64,",
    );
    refused(b"\xa1\x01\x01", "a key of type u8");
    check(
        b"\xa2\x61a\x01\x41a\x02",
        Err("cbor: found duplicate map key \"a\" at map element index 1"),
    );
    check(b"\x61\xff", Err("cbor: invalid UTF-8 string"));
    check(b"\x41\xff", Err("cbor: invalid UTF-8 string"));
    check(b"", Err("EOF"));
    check(b"\x82\x01", Err("unexpected EOF"));
    check(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", Err("unexpected EOF"));
    check(b"\x01\x02\x03", Err("cbor: 2 bytes of extraneous data starting at index 1"));
    assert!(matches!(decode(b"\xff"), Err(Fault::NoJson { .. } | Fault::Malformed(_))));
    assert!(matches!(decode(b"\x7f\x41a\xff"), Err(Fault::Malformed(_))));
}

#[test]
fn without_end_nested_is_refused() {
    let nested = |head: u8, levels: usize| [vec![head; levels], vec![0xf6]].concat();
    for head in [0x81, 0xc6] {
        assert!(decode(&nested(head, 127)).is_ok());
        assert_eq!(decode(&nested(head, 128)), Err(Fault::TooDeep));
        assert_eq!(decode(&nested(head, 3 << 20)), Err(Fault::TooDeep));
    }
}

#[test]
fn few_bytes_that_say_too_many_values_are_refused() {
    let many = |each: &[u8], count: usize| [&b"\x9f"[..], &each.repeat(count), b"\xff"].concat();
    for each in [&b"\xa1\x40\xf6"[..], b"\xa0", b"\x81\xf6", b"\x80", b"\xf6", b"\x40"] {
        let count = (3 << 20) / each.len();
        assert_eq!(decode(&many(each, count)), Err(Fault::TooMany), "{each:02x?}");
        assert!(decode(&many(each, 100_000)).is_ok(), "{each:02x?}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has it", |it| it.is_finite()).prop_map(Value::from),
        any::<f32>().prop_filter("JSON has it", |it| it.is_finite()).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,30}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(value in values()) {
        prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn no_bytes_are_worse_than_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = first_length(&bytes);
    }

    #[test]
    fn a_document_that_was_changed_is_no_worse(value in values(), at in 0..1000_usize, byte: u8) {
        let mut bytes = encode(&value);
        let place = at % bytes.len();
        bytes[place] = byte;
        let _ = decode(&bytes);
        let _ = decode(&bytes[..place]);
    }
}

#[test]
fn fields_are_put_in_order_however_they_come() {
    let fields: serde_json::Map<_, _> = (0..300).map(|i| (i.to_string(), json!([i]))).collect();
    let long: Vec<usize> = (0..24).collect();
    let value = json!({"fields": fields, "long": long, "b": {"bb": null, "c": {}}, "": true});
    let text = value.to_string();
    let written = item(&mut serde_json::Deserializer::from_str(&text)).unwrap();
    assert_eq!(encode(&value), [b"\xd9\xd9\xf7", &*written].concat());
    assert!(written.starts_with(b"\xa4\x40\xf5\x41b\xa2\x41c\xa0\x42bb\xf6\x44long\x98\x18\x00"));
    assert_eq!(decode(&encode(&value)), Ok(value));
}
