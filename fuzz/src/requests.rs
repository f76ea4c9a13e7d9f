//! Whole requests to an API server: a method, what is sent and what is wanted (content types), and the path with its query on
//! the first line, then the body. Paths, parameters, continue tokens and protobuf are read nowhere else.

use std::sync::LazyLock;

use http::Request;
use kube::{Client, client::Body};
use serde_json::Value;
use testkit::ControlPlane;
use tokio::runtime::Runtime;

/// A server that all inputs go to, one after the other.
struct Server {
    runtime: Runtime,
    client: Client,
    _plane: ControlPlane,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("threads can be had");
    let plane = runtime.block_on(ControlPlane::start());
    let client = runtime.block_on(async { plane.client() });
    Server { runtime, client, _plane: plane }
});

/// A version from the future is waited for, others' answers are theirs, and nobody is to be asked who is elsewhere.
const LEFT_ALONE: [&str; 4] = ["resourceVersion=", "proxy", "ebhook", "apiregistration"];

/// Who gives little time may be told that it was too little.
const TIMEOUT: u16 = 504;

/// Whatever is asked, it is not the server that is at fault.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Some(request) = request(input) else { return };
    if LEFT_ALONE.iter().any(|word| text.contains(word)) {
        return;
    }
    let shown = format!("{} {}", request.method(), request.uri());
    let Answer { code, is_json, text } = SERVER.runtime.block_on(answer(request));
    assert!(code < 500 || code == TIMEOUT, "{shown}: {code} {text}");
    if code >= 400 && is_json {
        let status: Value = serde_json::from_str(&text).expect("a Status");
        assert_eq!((&status["kind"], &status["code"]), (&"Status".into(), &code.into()), "{shown}");
    }
}

fn request(input: &[u8]) -> Option<Request<Body>> {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let line = str::from_utf8(parts.next()?).ok()?;
    let mut words = line.split(' ');
    let (method, sent, wanted, uri) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let request = Request::builder().method(method).uri(uri);
    let request = request.header("content-type", sent).header("accept", wanted);
    request.body(Body::from(parts.next().unwrap_or_default().to_vec())).ok()
}

/// What comes of a request.
struct Answer {
    code: u16,
    is_json: bool,
    /// What a failure says; what a success says may have no end.
    text: String,
}

async fn answer(request: Request<Body>) -> Answer {
    let answer = SERVER.client.send(request).await.expect("an answer");
    let code = answer.status().as_u16();
    let is_json = answer.headers().get("content-type").is_some_and(|it| it == "application/json");
    let mut text = String::new();
    if code >= 400 {
        let body = answer.into_body().collect_bytes().await.expect("a whole answer");
        text = String::from_utf8_lossy(&body).into_owned();
    }
    Answer { code, is_json, text }
}
