//! One call to one instance over HTTP.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, Response, header},
};
use futures::TryStreamExt;
use reqwest::Client;

use crate::metrics::InFlight;

/// Instances are near; one that takes longer to accept is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Headers that are about one connection and not about the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

/// A client for calls. Proxy settings of the environment are not for addresses of pods; an answer that
/// redirects is the function's answer.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}

/// Posts `body` to `url`. The answer's body is passed on as it comes, and `in_flight` ends with it.
pub(crate) async fn post(
    client: &Client,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    in_flight: InFlight,
) -> reqwest::Result<Response<Body>> {
    let answer = client.post(url).headers(headers).body(body).send().await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = end_to_end(answer.headers());
    let chunks = answer.bytes_stream().inspect_ok(move |_| {
        let _ = &in_flight;
    });
    *response.body_mut() = Body::from_stream(chunks);
    Ok(response)
}

/// The headers that an intermediary passes on.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    HOP_BY_HOP.iter().for_each(|name| drop(kept.remove(name)));
    kept.remove("keep-alive");
    // The client computes them for the instance.
    kept.remove(header::HOST);
    kept.remove(header::CONTENT_LENGTH);
    kept
}
