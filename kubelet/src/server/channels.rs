//! Several streams over one WebSocket, as Kubernetes does it: the first byte of a message names the
//! channel, the others are its data. (Kubernetes: `k8s.io/streaming/pkg/httpstream/wsstream`.)

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    Error,
    extract::ws::{
        CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code,
        rejection::WebSocketUpgradeRejection,
    },
    http::{HeaderValue, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::refusal::Refusal;

/// In the place of a channel: the next byte names one that is at its end.
const CLOSE: u8 = 255;
/// A client that is to take leave and is silent for so long has none. What it has not read may be lost.
const LEAVE: Duration = Duration::from_secs(10);
/// How often a client that is not listened to hears that it is not forgotten. Kubernetes' own go after a
/// minute in which none of their pings is answered.
const PONG: Duration = Duration::from_secs(5);
/// A session in which nothing is said for so long is over. (Kubernetes: `streamingConnectionIdleTimeout`.)
const IDLE: Duration = Duration::from_secs(4 * 60 * 60);

/// A way to write channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: &'static str,
    /// As text: a digit for the channel, and base64.
    base64: bool,
    /// Whether the client can tell that a channel is at its end.
    closes: bool,
    /// Whether the outcome is told as a `Status`; otherwise as its message, if it is a failure.
    pub(super) status: bool,
}

const V4: Protocol =
    Protocol { name: "v4.channel.k8s.io", base64: false, closes: false, status: true };
const V4_BASE64: Protocol = Protocol { name: "v4.base64.channel.k8s.io", base64: true, ..V4 };
const V1: Protocol = Protocol { name: "channel.k8s.io", status: false, ..V4 };

/// For exec and attach, the best one first.
pub(super) const REMOTE_COMMAND: &[Protocol] = &[
    Protocol { name: "v5.channel.k8s.io", closes: true, ..V4 },
    V4,
    V4_BASE64,
    V1,
    Protocol { name: "base64.channel.k8s.io", base64: true, ..V1 },
];
/// For port-forward: no channels, but the bytes of another protocol.
pub(super) const TUNNEL: Protocol = Protocol { name: "SPDY/3.1+portforward.k8s.io", ..V4 };
/// For port-forward.
pub(super) const PORT_FORWARD: &[Protocol] = &[TUNNEL, V4, V4_BASE64];

/// A request that should be one for a WebSocket.
pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Agrees with the client upon a protocol. One that names none gets the oldest.
pub(super) fn negotiate(
    upgrade: Upgrade,
    known: &[Protocol],
) -> Result<(WebSocketUpgrade, Protocol), Refusal> {
    let unwanted = |_| Refusal(StatusCode::BAD_REQUEST, "Upgrade request required".to_owned());
    let mut upgrade = upgrade.map_err(unwanted)?;
    if upgrade.requested_protocols().next().is_none() {
        return Ok((upgrade, V1));
    }
    let asked = |protocol: &&Protocol| upgrade.requested_protocols().any(|p| p == protocol.name);
    let best = known.iter().find(asked).copied();
    let best = best.ok_or_else(|| Refusal(StatusCode::FORBIDDEN, String::new()))?;
    upgrade.set_selected_protocol(HeaderValue::from_static(best.name));
    Ok((upgrade, best))
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data(u8, Bytes),
    /// The channel is at its end.
    Close(u8),
}

impl Protocol {
    fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            return Message::text(format!("{channel}{}", BASE64.encode(data)));
        }
        Message::binary([&[channel], data].concat())
    }

    /// Nothing, if the message says nothing of a channel.
    fn decode(self, message: Message) -> Option<Frame> {
        let (Message::Binary(_) | Message::Text(_)) = message else { return None };
        let bytes = message.into_data();
        match bytes.split_first()? {
            (&CLOSE, &[channel]) if self.closes => Some(Frame::Close(channel)),
            (digit, text) if self.base64 => {
                Some(Frame::Data(digit.checked_sub(b'0')?, BASE64.decode(text).ok()?.into()))
            }
            (channel, _) => Some(Frame::Data(*channel, bytes.slice(1..))),
        }
    }
}

/// The way to the client.
#[derive(Debug)]
pub(super) struct Sender {
    messages: Mutex<SplitSink<WebSocket, Message>>,
    protocol: Protocol,
    spoken: Spoken,
}

/// The way from the client.
#[derive(Debug)]
pub(super) struct Receiver {
    messages: SplitStream<WebSocket>,
    protocol: Protocol,
    spoken: Spoken,
}

/// When something was said last, by whomever.
#[derive(Clone, Debug)]
struct Spoken(Arc<parking_lot::Mutex<Instant>>);

pub(super) fn split(socket: WebSocket, protocol: Protocol) -> (Sender, Receiver) {
    let (sink, stream) = socket.split();
    let spoken = Spoken(Arc::new(parking_lot::Mutex::new(Instant::now())));
    let sender = Sender { messages: Mutex::new(sink), protocol, spoken: spoken.clone() };
    (sender, Receiver { messages: stream, protocol, spoken })
}

impl Sender {
    /// An error means that the client has gone.
    pub(super) async fn send(&self, channel: u8, data: &[u8]) -> Result<(), Error> {
        self.say(self.protocol.encode(channel, data)).await
    }

    /// The same in a tunnel.
    pub(super) async fn send_bytes(&self, bytes: Bytes) -> Result<(), Error> {
        self.say(Message::Binary(bytes)).await
    }

    async fn say(&self, message: Message) -> Result<(), Error> {
        self.spoken.now();
        self.messages.lock().await.send(message).await
    }

    /// Does what keeps the client from being listened to. `None` if it has gone meanwhile.
    pub(super) async fn while_deaf<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.pongs() => None,
        }
    }

    /// Until the client has gone.
    async fn pongs(&self) {
        loop {
            sleep(PONG).await;
            if self.messages.lock().await.send(Message::Pong(Bytes::new())).await.is_err() {
                return;
            }
        }
    }

    /// Until nothing was said for long.
    pub(super) async fn idle(&self) {
        self.spoken.is_long_ago().await;
    }
}

impl Spoken {
    fn now(&self) {
        *self.0.lock() = Instant::now();
    }

    async fn is_long_ago(&self) {
        loop {
            let end = *self.0.lock() + IDLE;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

impl Receiver {
    /// `None` once the client has gone. Its pings are answered while this is waited for.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            let message = self.messages.next().await?.ok()?;
            if let Some(frame) = self.protocol.decode(message) {
                self.spoken.now();
                return Some(frame);
            }
        }
    }

    /// The same in a tunnel.
    pub(super) async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            if let Message::Binary(bytes) = self.messages.next().await?.ok()? {
                self.spoken.now();
                return Some(bytes);
            }
        }
    }
}

/// Says the last, if there is something left. A connection that is dropped while the client still talks
/// would take with it what the client has not read yet: one that reads slowly has the time it needs.
pub(super) async fn close(sender: &Sender, mut receiver: Receiver, last: Option<(u8, String)>) {
    let say = async {
        if let Some((channel, data)) = last {
            sender.send(channel, data.as_bytes()).await.ok()?;
        }
        // Without a code, Go's clients take it for a fault.
        let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        sender.messages.lock().await.send(Message::Close(Some(normal))).await.ok()?;
        pending::<Option<()>>().await
    };
    let listen =
        async { while let Ok(Some(Ok(_))) = timeout(LEAVE, receiver.messages.next()).await {} };
    tokio::select! {
        _ = say => {}
        () = listen => {}
        () = sender.idle() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(channel: u8, data: &'static str) -> Option<Frame> {
        Some(Frame::Data(channel, data.into()))
    }

    #[test]
    fn channels_are_bytes_or_digits() {
        let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
        let [v5, v4, base64, ..] = REMOTE_COMMAND else { panic!("{REMOTE_COMMAND:?}") };
        for protocol in [v5, v4] {
            assert_eq!(protocol.encode(1, b"hi"), binary(b"\x01hi"));
            assert_eq!(protocol.decode(binary(b"\x00hi")), data(0, "hi"));
            assert_eq!(protocol.decode(binary(b"\x04")), data(4, ""));
            assert_eq!(protocol.decode(binary(b"")), None);
            assert_eq!(protocol.decode(Message::Ping(Bytes::from_static(b"\x00hi"))), None);
        }
        assert_eq!(base64.encode(1, b"hi"), Message::text("1aGk="));
        assert_eq!(base64.decode(Message::text("0aGk=")), data(0, "hi"));
        for wrong in ["0aGk", "0?", "!", ""] {
            assert_eq!(base64.decode(Message::text(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn only_v5_closes_channels() {
        let close = || Message::Binary(Bytes::from_static(b"\xff\x00"));
        let closing: Vec<_> = REMOTE_COMMAND
            .iter()
            .filter(|protocol| protocol.decode(close()) == Some(Frame::Close(0)))
            .map(|protocol| protocol.name)
            .collect();
        assert_eq!(closing, ["v5.channel.k8s.io"]);
    }
}
