//! `pods/proxy`, `services/proxy` and `nodes/proxy`: a request of any method is led on to a server in a pod, or to a
//! kubelet, and its answer back, both as they come.
//! (Kubernetes: `apimachinery/pkg/util/proxy/upgradeaware.go` and `transport.go`.)

mod destination;
pub(crate) mod headers;
mod led_on;
mod pages;

use std::pin::Pin;

use api_machinery::ApiError;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use serde_json::json;

use self::destination::Destination;
pub(crate) use self::led_on::led_on;
use super::connection;
use crate::{
    admission::{Attributes, Operation},
    identity::Identity,
    kubelet_client::causes,
    request::{self, RequestInfo},
    respond::{Response, Streamed},
    state::State,
    storage::Address,
};

pub(crate) const UNASKED: &str =
    "error trying to reach service: it changes to a protocol that it was not asked for";

/// A request that is to be led on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) info: &'a RequestInfo,
    pub(crate) parts: &'a Parts,
}

/// Leads a request on. Its body is taken as soon as somebody is there to read it.
pub(crate) async fn forward<B>(
    state: &State,
    request: Request<'_>,
    body: &mut Option<Pin<Box<B>>>,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Request { info, parts, .. } = request;
    admit(state, request).await?;
    let destination = destination::find(state, info).await?;
    let upgrade = upgrade(parts);
    if upgrade.is_none() && info.remainder.is_empty() && is_read(&parts.method) {
        return Ok(to_root(parts));
    }
    let mut asked =
        builder(state, &destination, request)?.headers(headers::onwards(parts, upgrade.is_some()));
    if let Some(body) = body.take_if(|body| !body.is_end_stream()) {
        asked = asked.body(led_on(body, state.config.request_timeout));
    }
    let answer = asked.send().await.map_err(|error| {
        let causes = causes(&error.without_url());
        ApiError::unavailable(format!("error trying to reach service: {causes}"))
    })?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(led_back(request, &destination, answer));
    }
    let asked_for = |_: &OnUpgrade| headers::same_protocol(&parts.headers, answer.headers());
    let upgrade = upgrade.filter(asked_for).ok_or_else(|| ApiError::unavailable(UNASKED))?;
    let response = begun(&answer, true);
    state.tasks.spawn(connection::lead(state.shutdown.clone(), upgrade, answer));
    Ok(response)
}

async fn admit(state: &State, request: Request<'_>) -> Result<(), ApiError> {
    let Request { identity, info, .. } = request;
    let kind = request::proxy_options(&info.def);
    let options = json!({ "kind": kind, "apiVersion": "v1", "path": info.remainder });
    let attributes = Attributes {
        operation: Operation::Connect,
        at: Address {
            def: &info.def,
            namespace: info.namespace.as_deref(),
            name: info.name.as_deref().unwrap_or_default(),
        },
        subresource: info.subresource,
        uid: "",
        old: None,
        options: Some(&options),
        identity,
        deletion: None,
        sender: None,
        dry_run: false,
    };
    state.admission.admit(&state.storage, &attributes, None).await
}

/// The client's connection, if it wants another protocol on it.
pub(crate) fn upgrade(parts: &Parts) -> Option<OnUpgrade> {
    parts.extensions.get().filter(|_| headers::asks_for_upgrade(&parts.headers)).cloned()
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Relative links are right only behind a slash (Kubernetes: `proxyRedirectsforRootPath`).
fn to_root(parts: &Parts) -> Response {
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // What begins with two slashes would name a host.
    let location = format!("/{}/{query}", parts.uri.path().trim_start_matches('/'));
    let mut response = Response::default();
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::from_str(&location).expect("what a URI has, a header may have");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn builder(
    state: &State,
    destination: &Destination,
    Request { info, parts, .. }: Request<'_>,
) -> Result<reqwest::RequestBuilder, ApiError> {
    let (method, path, query) = (parts.method.clone(), &*info.remainder, parts.uri.query());
    match destination {
        Destination::Server { scheme, address } => {
            let mut url = reqwest::Url::parse(&format!("{scheme}://{address}"))
                .map_err(ApiError::internal)?;
            url.set_path(path);
            url.set_query(query);
            Ok(state.pods.get().map_err(ApiError::internal)?.request(method, url))
        }
        Destination::Kubelet { client, kubelet } => {
            client.request(kubelet, method, path, query).map_err(ApiError::internal)
        }
    }
}

/// The answer's head.
pub(crate) fn begun(answer: &reqwest::Response, upgrades: bool) -> Response {
    let mut response = Response::default();
    *response.status_mut() = answer.status();
    *response.headers_mut() = headers::back(answer.headers(), upgrades);
    // However long it is: its server knows whether it is to be compressed.
    response.extensions_mut().insert(Streamed);
    response
}

fn led_back(
    Request { info, parts, .. }: Request<'_>,
    destination: &Destination,
    answer: reqwest::Response,
) -> Response {
    let mut response = begun(&answer, false);
    let path = parts.uri.path();
    let path = &path[path.find(|it| it != '/').unwrap_or(1).saturating_sub(1)..];
    let prefix = path.strip_suffix(&*info.remainder).unwrap_or(path).to_owned();
    let hosts = [destination.host(), headers::host(parts).unwrap_or_default()];
    let link = move |given: &str| headers::location(given, &hosts, &prefix);
    let location = response.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
    if let Some(Ok(location)) = location.map(|given| link(given).try_into()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    let is_whole = parts.method != Method::HEAD && answer.status() != StatusCode::PARTIAL_CONTENT;
    *response.body_mut() = if is_whole && pages::is_page(answer.headers()) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        Body::from_stream(pages::with_links(answer.bytes_stream(), link))
    } else {
        Body::from_stream(answer.bytes_stream())
    };
    response
}
