//! Requests to the API server: paths, queries, failures and warnings. It knows no kinds.

use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt, Stream, TryStreamExt};
use http::{HeaderName, Method, Request, Response, header, response::Parts};
use http_body_util::BodyDataStream;
use kube::client::{Body, Connection};
use serde_json::Value;

use crate::{Failure, failure::ServerError, io::Io};

/// What a table is asked for with; servers that can't make one answer with the objects.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// One request, built up by its methods.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    accept: &'static str,
    content_type: &'static str,
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
    is_quiet: bool,
}

impl Call {
    /// A request with this method to this path.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            accept: "application/json",
            content_type: "application/json",
            headers: Vec::new(),
            body: Vec::new(),
            is_quiet: false,
        }
    }

    /// The user has not said what is asked for, and is not told what the server says of that.
    #[must_use]
    pub fn quietly(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// A GET of this path.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With this query parameter, unless it is empty.
    #[must_use]
    pub fn query(mut self, key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.query.push((key.to_owned(), value));
        }
        self
    }

    /// With this query parameter, empty or not.
    #[must_use]
    pub fn word(mut self, key: &str, word: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), word.into()));
        self
    }

    /// With these query parameters.
    #[must_use]
    pub fn queries(mut self, pairs: &[(&str, String)]) -> Self {
        for (key, value) in pairs {
            self = self.query(key, value);
        }
        self
    }

    /// Asking for this representation.
    #[must_use]
    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this body, as JSON.
    #[must_use]
    pub fn body(self, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..self }
    }

    /// With this patch of this type.
    #[must_use]
    pub fn patch(self, content_type: &'static str, patch: &Value) -> Self {
        Self { content_type, ..self }.body(patch)
    }

    /// Path and query.
    #[must_use]
    pub fn uri(&self) -> String {
        let pair = |(k, v): &(String, String)| format!("{}={}", escape(k), escape(v));
        let query: Vec<_> = self.query.iter().map(pair).collect();
        if query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, query.join("&"))
        }
    }

    fn request(&self) -> Result<Request<Vec<u8>>, Failure> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.uri())
            .header(header::ACCEPT, self.accept)
            .header(header::CONTENT_TYPE, self.content_type)
            .header(
                header::USER_AGENT,
                concat!("kubectl/v", env!("CARGO_PKG_VERSION"), " (minik8s)"),
            );
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(self.body.clone())
            .map_err(|e| Failure::message(format!("invalid request {}: {e}", self.uri())))
    }
}

/// Percent-encodes everything but the unreserved characters (RFC 3986).
#[must_use]
pub fn escape(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The connection to one API server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    server: String,
    timeout: Option<Duration>,
    io: Io,
    verbosity: u8,
}

impl Api {
    /// A connection through `client`; `server` is what messages call it.
    #[must_use]
    pub fn new(
        client: kube::Client,
        server: String,
        timeout: Option<Duration>,
        io: Io,
        verbosity: u8,
    ) -> Self {
        Self { client, server, timeout, io, verbosity }
    }

    /// The server's address as messages show it.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request and reads the answer as JSON. Warnings of the server go to standard error.
    pub async fn call(&self, call: Call) -> Result<Value, Failure> {
        let bytes = self.bytes(call).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Failure::message(format!("the server's answer is not JSON: {e}")))
    }

    /// Sends a request and reads the answer as it is.
    pub async fn bytes(&self, call: Call) -> Result<Bytes, Failure> {
        match self.timeout {
            None => self.exchange(call).await,
            Some(limit) => {
                tokio::time::timeout(limit, self.exchange(call)).await.unwrap_or_else(|_| {
                    Err(Failure::Unreachable(format!(
                        "no answer from {} within {limit:?} (--request-timeout)",
                        self.server
                    )))
                })
            }
        }
    }

    /// Sends a request whose answer has no end; failures of the server come as errors.
    pub async fn stream(&self, call: Call) -> Result<impl AsyncBufRead + use<>, Failure> {
        self.trace(&call);
        self.client.request_stream(call.request()?).await.map_err(|e| self.failure(e))
    }

    /// Sends a request for a WebSocket.
    pub async fn connect(&self, call: Call) -> Result<Connection, Failure> {
        self.trace(&call);
        self.client.connect(call.request()?).await.map_err(|e| self.failure(e))
    }

    /// Sends a watch request; each item is one event (`{type, object}`).
    pub async fn watch(
        &self,
        call: Call,
    ) -> Result<impl Stream<Item = Result<Value, Failure>> + use<>, Failure> {
        let lines = self.stream(call.query("watch", "true")).await?.lines();
        Ok(lines.map_err(Failure::Io).and_then(async |line| {
            serde_json::from_str(&line)
                .map_err(|e| Failure::message(format!("the server's event is not JSON: {e}")))
        }))
    }

    /// Sends a request, and gives the answer's head and its body, which comes part by part.
    pub async fn open(
        &self,
        call: Call,
    ) -> Result<(Parts, impl Stream<Item = Result<Bytes, Failure>> + use<>), Failure> {
        let (head, body) = self.send(call).await?.into_parts();
        let server = self.server.clone();
        let parts = BodyDataStream::new(body);
        Ok((head, parts.map_err(move |error| connection_failure(&server, &error))))
    }

    async fn exchange(&self, call: Call) -> Result<Bytes, Failure> {
        let answer = self.send(call).await?;
        answer.into_body().collect_bytes().await.map_err(|e| self.failure(e))
    }

    /// The answer, if it is no failure.
    async fn send(&self, call: Call) -> Result<Response<Body>, Failure> {
        self.trace(&call);
        let is_quiet = call.is_quiet;
        let request = call.request()?.map(Body::from);
        let answer = self.client.send(request).await.map_err(|e| self.failure(e))?;
        if !is_quiet {
            self.show_warnings(answer.headers());
        }
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = answer.into_body().collect_bytes().await.map_err(|e| self.failure(e))?;
        Err(Failure::Server(ServerError::from_answer(status.as_u16(), &bytes)))
    }

    fn trace(&self, call: &Call) {
        if self.verbosity >= 6 {
            self.io.note(format_args!("{} {}", call.method, call.uri()));
        }
        if self.verbosity >= 8 && !call.body.is_empty() {
            self.io.note(String::from_utf8_lossy(&call.body));
        }
    }

    /// `Warning: 299 - "text"` (RFC 7234, as Kubernetes uses it).
    fn show_warnings(&self, headers: &http::HeaderMap) {
        for value in headers.get_all(header::WARNING).iter().filter_map(|v| v.to_str().ok()) {
            let text = value.split_once('"').map_or(value, |(_, rest)| rest.trim_end_matches('"'));
            self.io.note(format_args!("Warning: {}", text.replace("\\\"", "\"")));
        }
    }

    fn failure(&self, error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => {
                let code = status.code;
                let body = serde_json::to_vec(&status).unwrap_or_default();
                Failure::Server(ServerError::from_answer(code, &body))
            }
            other => connection_failure(&self.server, &other),
        }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Says of a failed exchange what a reader can act on: the deepest cause.
fn connection_failure(server: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut deepest = error;
    loop {
        let refused = deepest
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
        if refused {
            return Failure::Refused { server: server.to_owned() };
        }
        match deepest.source() {
            Some(source) => deepest = source,
            None => return Failure::Unreachable(deepest.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped_and_empty_parameters_are_left_out() {
        let call = Call::get("/api/v1/pods")
            .query("labelSelector", "app in (a,b)")
            .query("fieldSelector", "");
        assert_eq!(call.uri(), "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29");
    }

    #[test]
    fn a_refused_connection_is_told_from_other_faults() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(connection_failure("h:1", &refused), Failure::Refused { .. }));
        let other = std::io::Error::other("bad certificate");
        assert!(
            matches!(connection_failure("h:1", &other), Failure::Unreachable(w) if w == "bad certificate")
        );
    }
}
