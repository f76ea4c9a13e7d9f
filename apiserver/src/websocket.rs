//! Watches and logs as messages of a WebSocket, for clients that can't read an answer while it goes on, as programs in
//! browsers; and the token that such clients have no other place for than among the protocols.
//! (Kubernetes: `k8s.io/apiserver/pkg/endpoints/handlers/watch.go`, `k8s.io/streaming/pkg/httpstream/wsstream`.)

use api_machinery::ApiError;
use axum::{
    body::Body,
    extract::{
        FromRequestParts,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use tokio_util::sync::CancellationToken;

use crate::{call::Call, negotiation::Media, representation, respond::Response};

/// What a token among the protocols of a WebSocket begins with.
const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// How what is streamed becomes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A text for each line, or a message for each event in another encoding, whatever protocol the client names.
    Events(Media),
    /// Whatever has come, as bytes or, where the client wants that, as base64. The first message is empty.
    Bytes,
}

/// The protocols of [`Framing::Bytes`].
const BINARY: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";

/// The answer, or the change to a WebSocket that brings its body, if that is what the client asks for.
///
/// # Errors
/// The client speaks none of the protocols.
pub(crate) async fn framed(
    call: &Call,
    shutdown: &CancellationToken,
    framing: Framing,
    answer: Response,
) -> Result<Response, ApiError> {
    if !is_wanted(&call.headers) || answer.status() != StatusCode::OK {
        return Ok(answer);
    }
    let upgrade = call.upgrade.clone().ok_or_else(upgrade_required)?;
    let mut parts = Request::new(()).into_parts().0;
    parts.headers = without_token(&call.headers);
    parts.extensions.insert(upgrade);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let upgrade = upgrade.map_err(|_| upgrade_required())?;
    let offered: Vec<_> = protocols(&parts.headers).collect();
    let chosen = framing.choose(&offered)?.map(str::to_owned);
    let in_base64 = chosen.as_deref() == Some(BASE64) && framing == Framing::Bytes;
    let (body, shutdown) = (answer.into_body(), shutdown.clone());
    Ok(upgrade.protocols(chosen).on_upgrade(async move |socket| {
        let messages = framing.messages(body, in_base64);
        shutdown.run_until_cancelled(tell(socket, messages)).await;
    }))
}

/// Whether the client asks for a WebSocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    wanted.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

pub(crate) fn upgrade_required() -> ApiError {
    ApiError::bad_request("Upgrade request required")
}

impl Framing {
    /// The protocol that both sides know, if the client names any.
    fn choose(self, offered: &[String]) -> Result<Option<&str>, ApiError> {
        let known = |it: &&String| self != Self::Bytes || [BINARY, BASE64].contains(&it.as_str());
        match offered.iter().find(known) {
            None if !offered.is_empty() => Err(ApiError::bad_request(format!(
                "requested protocol(s) are not supported: {offered:?}; supports [{BASE64} {BINARY}]"
            ))),
            chosen => Ok(chosen.map(String::as_str)),
        }
    }

    fn messages(self, body: Body, in_base64: bool) -> impl Stream<Item = Message> {
        let begin = (self == Self::Bytes).then(Bytes::new);
        // What breaks off is at its end.
        let pieces = body.into_data_stream().take_while(|piece| std::future::ready(piece.is_ok()));
        let pieces = stream::iter(begin).chain(pieces.filter_map(async |piece| piece.ok()));
        pieces.flat_map(move |piece| stream::iter(self.split(&piece, in_base64)))
    }

    fn split(self, piece: &Bytes, in_base64: bool) -> Vec<Message> {
        match self {
            Self::Events(Media::Json) => {
                let lines = piece.split_inclusive(|byte| *byte == b'\n');
                lines
                    .map(|line| Message::text(String::from_utf8_lossy(line).into_owned()))
                    .collect()
            }
            Self::Events(media) => {
                representation::events(media, piece).map(Message::Binary).collect()
            }
            Self::Bytes if in_base64 => vec![Message::text(STANDARD.encode(piece))],
            Self::Bytes => vec![Message::Binary(piece.clone())],
        }
    }
}

/// Sends the messages, until they end or the client leaves. What it says is not heard.
async fn tell(socket: WebSocket, messages: impl Stream<Item = Message>) {
    let (mut to, mut from) = socket.split();
    let close = stream::once(async { Message::Close(None) });
    let telling = messages.chain(close).map(Ok).forward(&mut to);
    let leaving = async { while let Some(Ok(_)) = from.next().await {} };
    tokio::select! {
        _ = telling => {}
        () = leaving => {}
    }
}

// --- Tokens among the protocols ---

/// The token that a request for a WebSocket shows (Kubernetes: `k8s.io/apiserver/pkg/authentication/request/websocket`).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut tokens = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|it| token(&it).map(str::to_owned));
    let encoded = tokens.next().filter(|_| is_wanted(headers))?;
    // Two of them are none, and so is one that leaves no protocol to answer with.
    if tokens.next().is_some() || protocols(headers).next().is_none() {
        return None;
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok().filter(|it| !it.is_empty())
}

fn token(protocol: &str) -> Option<&str> {
    protocol.strip_prefix(BEARER_PROTOCOL)
}

/// The protocols that are some.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = String> + use<> {
    tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).filter(|it| token(it).is_none())
}

/// The headers as others may see them.
pub(crate) fn without_token(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    let mut all = tokens(&headers, &header::SEC_WEBSOCKET_PROTOCOL);
    if all.any(|it| token(&it).is_some()) {
        let kept: Vec<_> = protocols(&headers).collect();
        headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        if let Some(kept) = Some(kept.join(", ")).filter(|kept| !kept.is_empty())
            && let Ok(kept) = kept.try_into()
        {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, kept);
        }
    }
    headers
}

/// The values of a header, which may be there several times and have several each.
pub(crate) fn tokens(
    headers: &HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = String> + use<> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let tokens = values.flat_map(|value| value.split(','));
    let tokens: Vec<_> =
        tokens.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()).collect();
    tokens.into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(protocols: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        for protocol in protocols {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, protocol.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_comes_beside_a_protocol() {
        let token = format!("{BEARER_PROTOCOL}c2VjcmV0");
        let check = |protocols: &[&str], expected: Option<&str>| {
            assert_eq!(bearer(&headers(protocols)).as_deref(), expected, "{protocols:?}");
        };
        check(&[&token, "chat"], Some("secret"));
        check(&[&format!("chat, {token}")], Some("secret"));
        check(&[&token], None);
        check(&[&token, &token, "chat"], None);
        check(&[&format!("{BEARER_PROTOCOL}?"), "chat"], None);
        check(&["chat"], None);
        let mut plain = headers(&[&token, "chat"]);
        plain.remove(header::UPGRADE);
        assert_eq!(bearer(&plain), None);
        let passed = without_token(&headers(&[&token, "chat"]));
        assert_eq!(tokens(&passed, &header::SEC_WEBSOCKET_PROTOCOL).collect::<Vec<_>>(), ["chat"]);
    }

    #[test]
    fn a_protocol_is_chosen_that_both_sides_know() {
        let check = |framing: Framing, offered: &[&str], expected: Result<Option<&str>, &str>| {
            let offered: Vec<_> = offered.iter().map(|it| (*it).to_owned()).collect();
            let found = framing.choose(&offered).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        check(Framing::Events(Media::Json), &["chat"], Ok(Some("chat")));
        check(Framing::Events(Media::Json), &[], Ok(None));
        check(Framing::Bytes, &[], Ok(None));
        check(Framing::Bytes, &["chat", BASE64], Ok(Some(BASE64)));
        let refusal = "requested protocol(s) are not supported: [\"chat\"]; supports [base64.binary.k8s.io binary.k8s.io]";
        check(Framing::Bytes, &["chat"], Err(refusal));
    }

    #[tokio::test]
    async fn what_comes_together_is_told_line_by_line_and_else_as_it_comes() {
        let check = async |framing: Framing, in_base64, expected: &[Message]| {
            let body = Body::from("{\"a\":1}\n{}\n");
            let found: Vec<_> = framing.messages(body, in_base64).collect().await;
            assert_eq!(found, expected);
        };
        let lines = [Message::text("{\"a\":1}\n"), Message::text("{}\n")];
        check(Framing::Events(Media::Json), false, &lines).await;
        let bytes = |it: &'static str| Message::Binary(Bytes::from_static(it.as_bytes()));
        check(Framing::Bytes, false, &[bytes(""), bytes("{\"a\":1}\n{}\n")]).await;
        check(Framing::Bytes, true, &[Message::text(""), Message::text("eyJhIjoxfQp7fQo=")]).await;
    }

    #[tokio::test]
    async fn each_event_of_another_encoding_is_a_message_without_its_length() {
        let check = async |media: Media, head: usize| {
            let event = |name: &str| {
                let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
                representation::event(media, "ADDED", &object).unwrap()
            };
            let (a, b) = (event("a"), event("b"));
            let framing = Framing::Events(media);
            let body = Body::from([a.clone(), b.clone()].concat());
            let found: Vec<_> = framing.messages(body, false).collect().await;
            let expected = [a, b].map(|it| Message::Binary(Bytes::from(it).slice(head..)));
            assert_eq!(found, expected, "{media:?}");
        };
        check(Media::Protobuf, 4).await;
        check(Media::Cbor, 0).await;
    }
}
