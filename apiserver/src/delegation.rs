//! Requests for what another server serves are led on to it, with word of who makes them, and its answers back, both as
//! they come (Kubernetes: `kube-aggregator/pkg/apiserver/handler_proxy.go`).

mod remote_headers;

use std::{pin::Pin, time::Duration};

use api_machinery::ApiError;
use api_types::api::core::v1::ConfigMap;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use crate::{
    audit::AUDIT_ID,
    identity::Identity,
    kubelet_client::causes,
    request::{Delegated, Verb},
    request_header::{RequestHeaderOptions, TRUST_MAP},
    respond::{self, Response},
    state::State,
    subresources::{
        connection,
        proxy::{self, headers, led_on},
    },
};

pub(crate) use self::remote_headers::add as add_identity;

const UNAVAILABLE: &str = "service unavailable\n";
const REDIRECTED: &str = "the backend attempted to redirect this request, which is not permitted";
/// Discovery is cheap, and many wait for that of all servers (Kubernetes: `aggregatedDiscoveryTimeout`).
const DISCOVERY: Duration = Duration::from_secs(5);

/// A request that is to be led on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) delegated: &'a Delegated,
    pub(crate) parts: &'a Parts,
    pub(crate) audit_id: &'a str,
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
    let Request { delegated, parts, .. } = request;
    if !delegated.delegate.is_available {
        return Ok(respond::text(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE));
    }
    let upgrade = proxy::upgrade(parts);
    let mut asked = match builder(state, request, upgrade.is_some()).await {
        Ok(builder) => builder,
        Err((code, why)) => {
            let name = &delegated.delegate.name;
            tracing::warn!(name, why, "an APIService's server can't be asked");
            return Ok(respond::text(code, UNAVAILABLE));
        }
    };
    if let Some(body) = body.take_if(|body| !body.is_end_stream()) {
        asked = asked.body(led_on(body, state.config.request_timeout));
    }
    let answer = match (delegated.resource.is_some(), asked.send()) {
        (true, answer) => answer.await,
        (false, answer) => match timeout(DISCOVERY, answer).await {
            Ok(answer) => answer,
            Err(_) => return Ok(unreachable("context deadline exceeded")),
        },
    };
    match answer {
        Ok(answer) => answered(state, request, upgrade, answer),
        Err(error) => Ok(unreachable(&causes(&error.without_url()))),
    }
}

fn unreachable(why: &str) -> Response {
    let why = format!("error trying to reach service: {why}\n");
    respond::text(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// The request as it goes on, or the code and why it can't.
async fn builder(
    state: &State,
    Request { identity, delegated, parts, audit_id }: Request<'_>,
    upgrades: bool,
) -> Result<reqwest::RequestBuilder, (StatusCode, String)> {
    let (delegate, services) = (&delegated.delegate, state.storage.services());
    let service = &delegate.service;
    let found = services.find(&service.namespace, &service.name, service.port);
    let address = found.await.map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, why))?;
    let internal = |why: String| (StatusCode::INTERNAL_SERVER_ERROR, why);
    let url = delegate.client.url(address, &delegated.path, parts.uri.query()).map_err(internal)?;
    let client = delegate.client.at(address).map_err(internal)?;
    let mut headers = headers::onwards(parts, upgrades);
    clear_told(state, &mut headers).map_err(|error| internal(error.to_string()))?;
    // That of the server, by its name in the cluster.
    headers.remove(header::HOST);
    if let Ok(id) = HeaderValue::from_str(audit_id) {
        headers.insert(AUDIT_ID, id);
    }
    add_identity(&mut headers, identity).map_err(internal)?;
    Ok(client.request(parts.method.clone(), url).headers(headers))
}

/// Removes the headers of all front proxies that other servers are told of: they go by them whoever asks, and this server need not
/// know of them otherwise, as its flags may be others than those of who told of them.
fn clear_told(state: &State, headers: &mut HeaderMap) -> Result<(), ApiError> {
    let map = state.objects().cached::<ConfigMap>("configmaps", Some("kube-system"), TRUST_MAP)?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    RequestHeaderOptions::told(&data).clear(headers);
    Ok(())
}

fn answered(
    state: &State,
    Request { parts, delegated, .. }: Request<'_>,
    upgrade: Option<OnUpgrade>,
    answer: reqwest::Response,
) -> Result<Response, ApiError> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let asked_for = |_: &OnUpgrade| headers::same_protocol(&parts.headers, answer.headers());
        let upgrade =
            upgrade.filter(asked_for).ok_or_else(|| ApiError::unavailable(proxy::UNASKED))?;
        let response = proxy::begun(&answer, true);
        state.tasks.spawn(connection::lead(state.shutdown.clone(), upgrade, answer));
        return Ok(response);
    }
    // Its clients have shown this server what only this server may see.
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        return Ok(respond::text(StatusCode::BAD_GATEWAY, REDIRECTED));
    }
    let mut response = proxy::begun(&answer, false);
    let is_watch = delegated.resource.as_ref().is_some_and(|it| it.verb == Verb::Watch);
    *response.body_mut() = match is_watch {
        // A stop does not wait for the other server to end it.
        true => {
            let stopped = state.shutdown.clone().cancelled_owned();
            Body::from_stream(answer.bytes_stream().take_until(stopped))
        }
        false => Body::from_stream(answer.bytes_stream()),
    };
    Ok(response)
}
