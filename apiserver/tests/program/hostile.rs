//! Thousands of requests that nobody should send: objects with something wrong anywhere in them, bodies that are none, wild
//! queries, types and paths. Every answer is the client's fault said in a Status, never the server's.

use std::{fs, path::Path};

use futures::{StreamExt, stream};
use http::{Request, header};
use kube::{Client, client::Body};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use registry::{ResourceDef, Scope};
use serde_json::{Value, json};

const REQUESTS: u64 = 6000;
const AT_ONCE: usize = 16;
/// What the server may have more of afterwards: the pages of its store that it keeps in memory (32 MiB), the objects
/// that were accepted and their versions (a few kB each), and what the allocator holds on to. All bodies together are
/// far longer.
const MEMORY: u64 = 64 << 20;
/// How long a fifth of the bodies are.
const LONG: usize = 1 << 20;

const TYPES: [&str; 11] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/cbor",
    "text/plain; charset=\u{fffd}",
    "",
];
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"];
const PARAMETERS: [&str; 14] = [
    "labelSelector",
    "fieldSelector",
    "resourceVersion",
    "resourceVersionMatch",
    "limit",
    "continue",
    "watch",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "timeoutSeconds",
    "fieldManager",
    "fieldValidation",
    "dryRun",
    "gracePeriodSeconds",
];
const VALUES: [&str; 15] = [
    "",
    "true",
    "1",
    "-1",
    "99999999999999999999",
    "a=b,c!=d",
    "a%20in%20(",
    "spec.nodeName=x",
    "All",
    "Strict",
    "Exact",
    "%ff%fe",
    "%00",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ==",
    "NotOlderThan",
];

/// A kind with an object of it.
struct Kind {
    collection: String,
    object: Value,
}

fn kinds() -> Vec<Kind> {
    registry::all().iter().map(kind).collect()
}

fn kind(def: &ResourceDef) -> Kind {
    let names = &def.names;
    let version = if def.is_stored() { String::new() } else { format!(".{}", names.version) };
    let file = format!("../tests/catalogue/{}{version}.yaml", names.plural);
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let root =
        if names.group.is_empty() { "/api".into() } else { format!("/apis/{}", names.group) };
    let namespace = if def.scope == Scope::Namespaced { "/namespaces/default" } else { "" };
    Kind {
        collection: format!("{root}/{}{namespace}/{}", names.version, names.plural),
        object: serde_yaml::from_str(&text).unwrap(),
    }
}

/// Something that may stand anywhere in an object, mostly where it does not belong.
fn junk(random: &mut StdRng) -> Value {
    match random.random_range(0..12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e300),
        5 => json!(""),
        6 => json!("x".repeat(random.random_range(1..5000))),
        7 => json!("\u{0}\u{202e}\u{1f600}"),
        8 => json!([]),
        9 => json!({}),
        10 => json!([null, {"name": null}, [[]]]),
        _ => json!({"$patch": "delete", "name": 7, "valueFrom": []}),
    }
}

/// Walks down to a field at random and puts junk there, or takes the field away.
fn spoil(value: &mut Value, random: &mut StdRng) {
    let children: usize = match value {
        Value::Object(fields) => fields.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if children == 0 || random.random_ratio(1, 5) {
        *value = junk(random);
        return;
    }
    let index = random.random_range(0..children);
    match value {
        Value::Array(items) => spoil(&mut items[index], random),
        Value::Object(fields) => {
            let key = fields.keys().nth(index).unwrap().clone();
            match random.random_range(0..6) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert("\u{1f600}".repeat(3), junk(random))),
                _ => spoil(&mut fields[&key], random),
            }
        }
        _ => {}
    }
}

fn body(kind: &Kind, random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..10) {
        0 => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
        1 => b"{\"metadata\":".repeat(random.random_range(1..300)),
        2 => {
            json!([{"op": "replace", "path": "/spec/~2", "value": junk(random)}]).to_string().into()
        }
        8 | 9 => {
            let part = ["[", "{\"a\":", "- ", "x"].choose(random).unwrap();
            part.repeat(LONG / part.len()).into()
        }
        3 => format!("a: &a [*a, {}]\nb: !!binary x", junk(random)).into(),
        _ => {
            let mut object = kind.object.clone();
            (0..random.random_range(1..4)).for_each(|_| spoil(&mut object, random));
            object.to_string().into()
        }
    }
}

fn path(kind: &Kind, random: &mut StdRng) -> String {
    let name = kind.object["metadata"]["name"].as_str().unwrap();
    match random.random_range(0..10) {
        0 => format!("{}/{name}/status", kind.collection),
        1 => format!("{}/{name}/scale", kind.collection),
        2 => format!("{}/{name}/binding", kind.collection),
        3 => format!("{}/{name}/log", kind.collection),
        4 => format!("{}/%2e%2e/%ff", kind.collection),
        5 => format!("/api//v1/{}", "x/".repeat(random.random_range(0..50))),
        6 | 7 => kind.collection.clone(),
        _ => format!("{}/{name}", kind.collection),
    }
}

fn query(random: &mut StdRng) -> String {
    let pairs = (0..random.random_range(0..4)).map(|_| {
        let (key, value) = (PARAMETERS.choose(random).unwrap(), VALUES.choose(random).unwrap());
        format!("{key}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn request(kinds: &[Kind], seed: u64) -> Request<Body> {
    let random = &mut StdRng::seed_from_u64(seed);
    let kind = kinds.choose(random).unwrap();
    let uri = format!("{}?{}", path(kind, random), query(random));
    let method = *METHODS.choose(random).unwrap();
    let mut request =
        Request::builder().method(method).uri(uri).header("accept", *TYPES.choose(random).unwrap());
    request = request.header("content-type", *TYPES.choose(random).unwrap());
    request.body(Body::from(body(kind, random))).unwrap()
}

/// What the answer is, unless it is the server that failed.
async fn answer(client: &Client, request: Request<Body>) -> Result<u16, String> {
    let shown = format!("{} {}", request.method(), request.uri());
    let answer = client.send(request).await.map_err(|e| format!("{shown}: {e}"))?;
    let code = answer.status().as_u16();
    if code < 400 {
        return Ok(code);
    }
    let is_json =
        answer.headers().get(header::CONTENT_TYPE).is_none_or(|it| it == "application/json");
    let body = answer.into_body().collect_bytes().await.map_err(|e| format!("{shown}: {e}"))?;
    // In other encodings texts are as they are.
    let tells = |text: &str| body.windows(text.len()).any(|it| it == text.as_bytes());
    let (is_failure, is_timeout) = match serde_json::from_slice::<Value>(&body) {
        Ok(status) => (status["code"] == code, status["reason"] == "Timeout"),
        Err(_) => (!is_json && tells("Failure"), tells("Timeout")),
    };
    // A version from the future is waited for, then told as upstream does.
    match is_failure && (code < 500 || code == 504 && is_timeout) {
        true => Ok(code),
        false => Err(format!("{shown}: {code} {}", String::from_utf8_lossy(&body))),
    }
}

#[tokio::test]
async fn no_request_is_the_servers_fault_or_stays_in_its_memory() {
    let server = crate::spawn().await;
    let (client, kinds) = (server.client().await, kinds());
    let before = server.allocated();
    let ask = async |seed| match answer(&client, request(&kinds, seed)).await {
        Ok(code) => u64::from(code >= 400),
        Err(fault) => panic!("seed {seed}: {fault}"),
    };
    let refused = stream::iter(0..REQUESTS).map(ask).buffer_unordered(AT_ONCE);
    let refused = refused.fold(0, async |sum, refused| sum + refused).await;
    assert!((REQUESTS / 2..REQUESTS).contains(&refused), "{refused} of {REQUESTS} were refused");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let more = server.allocated().saturating_sub(before);
    assert!(more < MEMORY, "{before} bytes, {more} more after all");
}
