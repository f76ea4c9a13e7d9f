//! Answers in YAML, protobuf and CBOR, for clients that would rather have them than JSON.

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use prost::Message;
use serde_json::{Value, json};

use crate::{
    definitions::{TABS, serve, tab},
    harness::{Api, CONFIG_MAPS, JSON, PATIENCE, TABLE, version},
};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const CBOR: &str = "application/cbor";
const YAML: &str = "application/yaml";
/// What `kubectl` and Go's clients send.
const TYPED: &str = "application/vnd.kubernetes.protobuf,application/json";
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const APPLY: &str = "application/apply-patch+cbor";

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, required, tag = "1")]
    type_meta: TypeMeta,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    status: String,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(int32, tag = "6")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Object {
    #[prost(message, required, tag = "1")]
    metadata: Metadata,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "6")]
    resource_version: String,
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "2")]
    items: Vec<Object>,
}

/// One of `meta.k8s.io/v1beta1`, whose fields have other numbers.
#[derive(Clone, PartialEq, Message)]
struct OlderList {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Object>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    type_: String,
    #[prost(message, required, tag = "2")]
    object: Raw,
}

#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    raw: Vec<u8>,
}

/// Whatever it is.
#[derive(Clone, PartialEq, Message)]
struct Anything {}

/// An answer that may be no text.
struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn type_(&self) -> &str {
        self.headers[header::CONTENT_TYPE].to_str().unwrap()
    }

    /// The kind of what is in the envelope, and that.
    #[track_caller]
    fn message<M: Message + Default>(&self) -> (String, M) {
        assert_eq!(self.type_(), PROTOBUF);
        enveloped(&self.body)
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.type_(), JSON);
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    fn yaml(&self) -> Value {
        assert_eq!(self.type_(), YAML);
        serde_yaml::from_slice(&self.body).unwrap()
    }
}

fn enveloped<M: Message + Default>(bytes: &[u8]) -> (String, M) {
    let unknown = Unknown::decode(bytes.strip_prefix(b"k8s\0").unwrap()).unwrap();
    let TypeMeta { api_version, kind } = unknown.type_meta;
    (format!("{api_version} {kind}"), M::decode(&*unknown.raw).unwrap())
}

async fn send(
    api: &Api,
    method: &str,
    path: &str,
    types: (&str, &str),
    body: impl Into<Body>,
) -> Answer {
    let (parts, body) = api.exchange(method, path, types, body).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { code: parts.status.as_u16(), headers: parts.headers, body }
}

/// Opens a watch, whose events are to be of this type.
async fn watch(api: &Api, path: &str, accept: &str, type_: &str) -> BodyDataStream {
    let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    let response = api.request(request).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], type_);
    response.into_body().into_data_stream()
}

async fn piece(watch: &mut BodyDataStream) -> Vec<u8> {
    let piece = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event");
    piece.unwrap().unwrap().to_vec()
}

async fn get(api: &Api, path: &str, accept: &str) -> Answer {
    send(api, "GET", path, (JSON, accept), Body::empty()).await
}

#[tokio::test]
async fn typed_clients_are_answered_in_protobuf_failures_included() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({"x": "y"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let got = get(&api, &path, TYPED).await;
    let (kind, object): (_, Object) = got.message();
    assert_eq!((&*kind, &*object.metadata.name), ("v1 ConfigMap", "a"));
    assert_eq!(object.metadata.resource_version, version(&created));
    // What was read can be written.
    let dry = format!("{path}?dryRun=All");
    let written = send(&api, "PUT", &dry, (PROTOBUF, JSON), got.body).await;
    assert_eq!((written.code, written.json()), (200, created));
    let fails = async |path: &str, expected: (i32, &str)| {
        let refused = get(&api, path, TYPED).await;
        let (kind, status): (_, Status) = refused.message();
        assert_eq!((&*kind, &*status.status), ("v1 Status", "Failure"));
        assert_eq!((status.code, &*status.reason), expected);
        assert_eq!(i32::from(refused.code), status.code);
    };
    fails(&format!("{CONFIG_MAPS}/frog"), (404, "NotFound")).await;
    fails(&format!("{CONFIG_MAPS}?limit=frog"), (400, "BadRequest")).await;
    fails("/apis/frogs/v1/frogs", (404, "NotFound")).await;
    let deleted = send(&api, "DELETE", &path, (JSON, TYPED), Body::empty()).await;
    let (kind, status): (_, Status) = deleted.message();
    assert_eq!((&*kind, &*status.status), ("v1 Status", "Success"));
}

#[tokio::test]
async fn lists_are_put_together_in_protobuf_and_in_cbor() {
    let api = Api::start().await;
    for name in ["a", "b"] {
        api.config_map(name, json!({})).await;
    }
    for (accept, expected) in
        [(TYPED, "v1 ConfigMapList"), (METADATA, "meta.k8s.io/v1 PartialObjectMetadataList")]
    {
        let (kind, list): (_, List) = get(&api, CONFIG_MAPS, accept).await.message();
        let names: Vec<_> = list.items.iter().map(|item| &*item.metadata.name).collect();
        assert_eq!((&*kind, names), (expected, vec!["a", "b"]));
    }
    let older = METADATA.replace("v=v1", "v=v1beta1");
    let (kind, list): (_, OlderList) = get(&api, CONFIG_MAPS, &older).await.message();
    let names: Vec<_> = list.items.iter().map(|item| &*item.metadata.name).collect();
    let expected = "meta.k8s.io/v1beta1 PartialObjectMetadataList";
    assert_eq!((&*kind, names), (expected, vec!["a", "b"]));
    let cbor = get(&api, CONFIG_MAPS, CBOR).await;
    assert_eq!((cbor.code, cbor.type_()), (200, CBOR));
    assert!(cbor.body.starts_with(b"\xd9\xd9\xf7\xa4\x44kind\x4dConfigMapList"));
    // No table has a form but JSON.
    let table = get(&api, CONFIG_MAPS, &TABLE.replace(JSON, PROTOBUF)).await;
    assert_eq!((table.code, table.json()["reason"].clone()), (406, json!("NotAcceptable")));
    let either = format!("{},{TABLE}", TABLE.replace(JSON, PROTOBUF));
    let table = get(&api, CONFIG_MAPS, &either).await;
    assert_eq!(table.json()["kind"], "Table");
}

#[tokio::test]
async fn a_watch_tells_its_events_in_frames() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let path = format!(
        "{CONFIG_MAPS}?watch=true&resourceVersion={}&fieldSelector=metadata.name%3Da",
        version(&created)
    );
    let type_ = "application/vnd.kubernetes.protobuf;stream=watch";
    let mut watches =
        [watch(&api, &path, TYPED, type_).await, watch(&api, &path, TYPED, type_).await];
    let path = format!("{CONFIG_MAPS}/a");
    let changed = api.patch(&path, "merge-patch", &json!({"data": {"b": "c"}})).await.ok();
    api.delete(&path).await.ok();
    for watch in &mut watches {
        let (mut read, mut told) = (Vec::new(), Vec::new());
        while told.len() < 2 {
            read.extend(piece(watch).await);
            while let Some((length, rest)) = read.split_first_chunk::<4>()
                && rest.len() >= u32::from_be_bytes(*length) as usize
            {
                let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                let event = WatchEvent::decode(frame).unwrap();
                let (kind, object): (_, Object) = enveloped(&event.object.raw);
                told.push((event.type_, kind, object.metadata));
                read = rest.to_vec();
            }
        }
        let [modified, deleted] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&*modified.0, &*modified.1), ("MODIFIED", "v1 ConfigMap"));
        assert_eq!(modified.2.resource_version, version(&changed));
        assert_eq!((&*deleted.0, &*deleted.2.name), ("DELETED", "a"));
        assert_ne!(deleted.2.resource_version, version(&changed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_data_comes_in_cbor_and_not_in_protobuf() {
    let api = Api::start().await;
    serve(&api).await;
    api.post(TABS, &tab("a", &json!({"cronSpec": "* * * * *"}))).await.ok();
    let path = format!("{TABS}/a");
    let refused = get(&api, &path, PROTOBUF).await;
    let (kind, status): (_, Status) = refused.message();
    assert_eq!((&*kind, status.code, &*status.reason), ("v1 Status", 406, "NotAcceptable"));
    let object = get(&api, &path, TYPED).await.json();
    let (_, list): (_, List) = get(&api, TABS, METADATA).await.message();
    assert_eq!(list.items[0].metadata.name, "a");
    let (kind, Anything {}) = get(&api, &format!("{path}/scale"), PROTOBUF).await.message();
    assert_eq!(kind, "autoscaling/v1 Scale");
    let cbor = get(&api, &path, CBOR).await;
    assert_eq!(cbor.type_(), CBOR);
    let dry = format!("{path}?dryRun=All");
    let written = send(&api, "PUT", &dry, (CBOR, JSON), cbor.body.clone()).await;
    assert_eq!((written.code, written.json()), (200, object));
    let accept = "application/cbor;q=0.9,application/json;q=0.5";
    let path = format!("{TABS}?watch=true");
    let mut events = watch(&api, &path, accept, "application/cbor-seq").await;
    let begin = b"\xd9\xd9\xf7\xa2\x44type\x45ADDED\x46object";
    assert_eq!(piece(&mut events).await, [&begin[..], &cbor.body].concat());
}

#[tokio::test]
async fn bodies_may_be_cbor() {
    let api = Api::start().await;
    // {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"x": "y"}}, texts and bytes mixed.
    let body = b"\xd9\xd9\xf7\xa4\x6aapiVersion\x42v1\x44kind\x69ConfigMap\x68metadata\xa1\x64name\x61c\x64data\xbf\x61x\x41y\xff";
    let created = send(&api, "POST", CONFIG_MAPS, (CBOR, JSON), &body[..]).await;
    assert_eq!((created.code, &created.json()["data"]), (201, &json!({"x": "y"})));
    let path = format!("{CONFIG_MAPS}/c?fieldManager=me&force=true");
    let applied = send(&api, "PATCH", &path, (APPLY, JSON), &body[..]).await;
    assert_eq!(applied.json()["metadata"]["managedFields"][0]["manager"], "me");
    for (path, method, type_) in [(CONFIG_MAPS, "POST", CBOR), (&*path, "PATCH", APPLY)] {
        let cut = send(&api, method, path, (type_, JSON), &body[..20]).await;
        assert_eq!(cut.code, 400, "{method}");
        let expected = "the object provided is unrecognized (must be of type CBOR): unexpected EOF";
        assert_eq!(cut.json()["message"], expected);
        let nested = send(&api, method, path, (type_, JSON), vec![0x81; 1 << 20]).await;
        assert_eq!(nested.code, 400, "{method}");
    }
    let options = b"\xa1\x72gracePeriodSeconds\x00";
    let path = format!("{CONFIG_MAPS}/c");
    assert_eq!(send(&api, "DELETE", &path, (CBOR, CBOR), &options[..]).await.code, 200);
}

#[tokio::test]
async fn discovery_is_encoded_too_and_known_by_the_same_tag() {
    let api = Api::start().await;
    for (path, accept, kind) in [
        ("/api", TYPED, " APIVersions"),
        ("/apis", TYPED, "v1 APIGroupList"),
        ("/apis/apps", TYPED, "v1 APIGroup"),
        ("/apis/apps/v1", TYPED, "v1 APIResourceList"),
    ] {
        let answer = get(&api, path, accept).await;
        let (found, Anything {}) = answer.message();
        assert_eq!(found, kind);
        let tag = get(&api, path, JSON).await.headers[header::ETAG].clone();
        assert_eq!(answer.headers[header::ETAG], tag);
        assert_eq!(answer.headers[header::VARY], "Accept");
        let known =
            Request::get(path).header(header::ACCEPT, TYPED).header(header::IF_NONE_MATCH, tag);
        let known = api.request(known.body(Body::empty()).unwrap()).await;
        assert_eq!(known.status(), 304);
    }
    let accept =
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = get(&api, "/apis", accept).await;
    assert_eq!(aggregated.type_(), accept);
    let (kind, groups): (_, List) = enveloped(&aggregated.body);
    assert_eq!(kind, "apidiscovery.k8s.io/v2 APIGroupDiscoveryList");
    assert!(groups.items.iter().any(|group| group.metadata.name == "apps"));
    // Whoever asks for what there is none of.
    assert_eq!(get(&api, "/apis", "text/html").await.code, 406);
}

#[tokio::test]
async fn whatever_is_answered_at_once_comes_in_yaml() {
    let api = Api::start().await;
    for name in ["a", "b"] {
        let data = json!({"x": "1", "y": "two\nlines\n"});
        api.post(CONFIG_MAPS, &json!({"metadata": {"name": name}, "data": data})).await.ok();
    }
    let a = format!("{CONFIG_MAPS}/a");
    let same = async |path: &str, parameters: &str| {
        let [json, yaml] = [JSON, YAML].map(|media| format!("{media}{parameters}"));
        let (json, yaml) = (get(&api, path, &json).await, get(&api, path, &yaml).await);
        assert_eq!((yaml.code, yaml.yaml()), (json.code, json.json()), "{path}");
    };
    for path in [&*a, CONFIG_MAPS, "/frog", "/api", "/apis", "/apis/apps", "/apis/apps/v1"] {
        same(path, "").await;
    }
    same(CONFIG_MAPS, ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
    for query in ["labelSelector=frog", "limit=frog"] {
        same(&format!("{CONFIG_MAPS}?{query}"), "").await;
    }
    let table = get(&api, CONFIG_MAPS, &TABLE.replace(JSON, YAML)).await.yaml();
    let names = [0, 1].map(|row| table["rows"][row]["cells"][0].clone());
    assert_eq!((&table["kind"], names), (&json!("Table"), [json!("a"), json!("b")]));
    let object = String::from_utf8(get(&api, &a, YAML).await.body).unwrap();
    let begin = "apiVersion: v1\ndata:\n  x: \"1\"\n  \"y\": |\n    two\n    lines\nkind: ConfigMap\nmetadata:\n";
    assert!(object.starts_with(begin), "{object}");
    let written = send(&api, "PUT", &format!("{a}?dryRun=All"), (YAML, YAML), object.clone()).await;
    assert_eq!((written.code, String::from_utf8(written.body).unwrap()), (200, object));
    let watched = get(&api, &format!("{CONFIG_MAPS}?watch=true"), YAML).await;
    let told = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch, application/cbor-seq";
    assert_eq!((watched.code, &watched.yaml()["message"]), (406, &json!(told)));
    let openapi = get(&api, "/openapi/v3/api/v1", YAML).await;
    assert_eq!(openapi.code, 406);
}
