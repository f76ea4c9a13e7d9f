//! One call to one instance over HTTP.

use std::{io, net::IpAddr, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Response, header},
};
use futures::{Stream, StreamExt, stream};
use reqwest::Client;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::metrics::InFlight;

/// Instances are near; one that takes longer to accept is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pieces of an answer on their way from the instance to the caller.
const PIECES: usize = 8;

/// Headers that are about one connection and not about the message (RFC 9110, 7.6.1), besides those that
/// `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];
const OLD_HOP_BY_HOP: [&str; 2] = ["keep-alive", "proxy-connection"];

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// A client for calls. Proxy settings of the environment are not for addresses of pods; an answer that
/// redirects is the function's answer.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}

/// What is posted.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// What follows the path's `?`.
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Message {
    /// The address for it below `root`, as the caller wrote it.
    fn url(&self, root: String) -> String {
        match &self.query {
            Some(query) => format!("{root}?{query}"),
            None => root,
        }
    }
}

/// Posts it to `root`. The answer's body is passed on as it comes, until `deadline`, and `in_flight` ends
/// with it.
pub(crate) async fn post(
    client: &Client,
    root: String,
    message: Message,
    deadline: Instant,
    in_flight: InFlight,
) -> reqwest::Result<Response<Body>> {
    let url = message.url(root);
    let answer = client.post(url).headers(message.headers).body(message.body).send().await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = end_to_end(answer.headers());
    let (sender, receiver) = mpsc::channel(PIECES);
    // A task of its own: a caller that reads slowly must not keep the instance beyond the deadline.
    tokio::spawn(async move {
        // Past the deadline the channel closes without the end of the answer.
        let _ = timeout_at(deadline, pump(answer.bytes_stream(), sender)).await;
        drop(in_flight);
    });
    *response.body_mut() = Body::from_stream(pieces(receiver));
    Ok(response)
}

/// A piece of an answer; nothing at its end.
type Piece = Option<io::Result<Bytes>>;

/// Ends early if nobody wants the answer any more.
async fn pump(answer: impl Stream<Item = reqwest::Result<Bytes>>, to: mpsc::Sender<Piece>) {
    let mut answer = std::pin::pin!(answer);
    loop {
        // An instance that is silent must not be kept for nobody.
        let piece = tokio::select! {
            () = to.closed() => return,
            piece = answer.next() => piece.map(|piece| piece.map_err(io::Error::other)),
        };
        let last = piece.is_none();
        if to.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// An answer that breaks off is an error, so that it is not taken for a whole one.
fn pieces(from: mpsc::Receiver<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(from), async |from| {
        let mut from = from?;
        match from.recv().await {
            Some(piece) => piece.map(|piece| (piece, Some(from))),
            None => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

/// The headers that an intermediary passes on.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')).chain(OLD_HOP_BY_HOP) {
        kept.remove(name.trim());
    }
    HOP_BY_HOP.iter().for_each(|name| drop(kept.remove(name)));
    // The client computes it for the next one.
    kept.remove(header::CONTENT_LENGTH);
    kept
}

/// The headers of a call for an instance. What the caller addressed, and who that is, it learns from the
/// usual two.
pub(crate) fn for_instance(headers: &HeaderMap, caller: Option<IpAddr>) -> HeaderMap {
    let mut kept = end_to_end(headers);
    // The body is here already.
    kept.remove(header::EXPECT);
    if let Some(host) = kept.remove(header::HOST) {
        kept.entry(FORWARDED_HOST).or_insert(host);
    }
    if let Some(value) = caller.and_then(|caller| forwarded_for(&kept, caller)) {
        kept.insert(FORWARDED_FOR, value);
    }
    kept
}

/// Each intermediary adds from whom it had the message.
fn forwarded_for(headers: &HeaderMap, caller: IpAddr) -> Option<HeaderValue> {
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<String> = before.map(str::to_owned).chain([caller.to_string()]).collect();
    all.join(", ").parse().ok()
}
