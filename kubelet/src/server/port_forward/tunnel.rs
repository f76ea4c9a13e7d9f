//! Port-forward as kubectl speaks it: SPDY in a WebSocket. Each connection has two streams, which the
//! client opens: its data, and why it failed. Headers tell which belong together.
//! (Kubernetes: `httpstream.go`; `client-go/tools/portforward`.)

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::ws::WebSocket;
use bytes::{Bytes, BytesMut};
use spdy::{Codec, Error, Frame, Headers};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::{
    codec::{Decoder, Encoder},
    sync::{CancellationToken, DropGuard},
};

use super::forward::Forward;
use crate::server::channels::{self, Receiver, Sender, TUNNEL};

/// Why a stream is not taken: `PROTOCOL_ERROR`.
const REFUSED: u32 = 1;
/// How many frames may wait: to be told, and for the pod to read them. A pod that reads less holds up the
/// client's other connections.
const QUEUE: usize = 64;

/// Serves until the client has gone.
pub(super) async fn serve(forward: Forward, socket: WebSocket) {
    let (sender, mut receiver) = channels::split(socket, TUNNEL);
    let (frames, told) = mpsc::channel(QUEUE);
    let mut session = Session {
        forward: Arc::new(forward),
        frames,
        pairs: BTreeMap::new(),
        open: BTreeMap::new(),
        connections: JoinSet::new(),
    };
    let ended = tokio::select! {
        ended = session.listen(&sender, &mut receiver) => ended,
        ended = tell(&sender, told) => ended,
        () = sender.idle() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a port-forward ended");
    }
    drop(session);
    channels::close(&sender, receiver, None).await;
}

/// Tells the client all there is to say, in order.
async fn tell(sender: &Sender, mut frames: mpsc::Receiver<Frame>) -> Result<(), Error> {
    let mut codec = Codec::default();
    while let Some(frame) = frames.recv().await {
        let mut bytes = BytesMut::new();
        codec.encode(frame, &mut bytes)?;
        if sender.send_bytes(bytes.freeze()).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Purpose {
    /// The connection, by the client's word.
    request: String,
    port: u16,
    is_data: bool,
}

impl Purpose {
    fn read(headers: &Headers) -> Option<Self> {
        let is_data = match headers.get("streamtype")?.as_str() {
            "data" => true,
            "error" => false,
            _ => return None,
        };
        let port = headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
        Some(Self { request: headers.get("requestid")?.clone(), port, is_data })
    }
}

/// The streams of a connection that has not begun.
#[derive(Default)]
struct Pair {
    errors: Option<u32>,
    data: Option<(u32, Input)>,
}

/// What a client says on a data stream.
struct Input {
    data: mpsc::Receiver<Bytes>,
    reset: CancellationToken,
}

/// A data stream that the client may write to.
struct Open {
    /// `None` once it has said all.
    input: Option<mpsc::Sender<Bytes>>,
    /// Gone with it, the connection ends.
    _reset: DropGuard,
}

struct Session {
    forward: Arc<Forward>,
    frames: mpsc::Sender<Frame>,
    /// By request.
    pairs: BTreeMap<String, Pair>,
    /// By data stream.
    open: BTreeMap<u32, Open>,
    /// Each gives its data stream at its end.
    connections: JoinSet<u32>,
}

impl Session {
    /// Hears what the client says until it has gone.
    async fn listen(&mut self, sender: &Sender, receiver: &mut Receiver) -> Result<(), Error> {
        let (mut codec, mut read) = (Codec::default(), BytesMut::new());
        loop {
            tokio::select! {
                bytes = receiver.next_bytes() => match bytes {
                    Some(bytes) => read.extend_from_slice(&bytes),
                    None => return Ok(()),
                },
                Some(ended) = self.connections.join_next() => {
                    // One that panicked has its streams until the session ends.
                    if let Ok(stream) = ended {
                        self.open.remove(&stream);
                    }
                }
            }
            while let Some(frame) = codec.decode(&mut read)? {
                if sender.while_deaf(self.hear(frame)).await.is_none_or(|goes_on| !goes_on) {
                    return Ok(());
                }
            }
        }
    }

    /// Whether the client has more to say.
    async fn hear(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::SynStream { stream, headers, fin } => self.opened(stream, &headers, fin).await,
            Frame::Data { stream, data, fin } => self.said(stream, data, fin).await,
            Frame::RstStream { stream, .. } => drop(self.open.remove(&stream)),
            Frame::Ping(number) if number % 2 == 1 => self.say(Frame::Ping(number)).await,
            Frame::GoAway { .. } => return false,
            Frame::Ping(_) | Frame::SynReply { .. } | Frame::Headers { .. } => {}
        }
        true
    }

    async fn opened(&mut self, stream: u32, headers: &Headers, fin: bool) {
        let Some(Purpose { request, port, is_data }) = Purpose::read(headers) else {
            return self.say(Frame::RstStream { stream, status: REFUSED }).await;
        };
        self.say(Frame::SynReply { stream, headers: Headers::new(), fin: false }).await;
        let mut pair = self.pairs.remove(&request).unwrap_or_default();
        if is_data {
            let (input, data) = mpsc::channel(QUEUE);
            let reset = CancellationToken::new();
            let input = (!fin).then_some(input);
            self.open.insert(stream, Open { input, _reset: reset.clone().drop_guard() });
            pair.data = Some((stream, Input { data, reset }));
        } else {
            pair.errors = Some(stream);
        }
        match pair {
            Pair { errors: Some(errors), data: Some((data, input)) } => {
                let streams = Streams { errors, data, frames: self.frames.clone() };
                self.connections.spawn(streams.connect(self.forward.clone(), port, input));
            }
            half => drop(self.pairs.insert(request, half)),
        }
    }

    async fn said(&mut self, stream: u32, data: Bytes, fin: bool) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        if let Some(input) = &open.input {
            // What comes too late for a connection is lost, as everywhere.
            let _ = input.send(data).await;
        }
        if fin {
            open.input = None;
        }
    }

    /// Who does not listen any more has gone, which others notice.
    async fn say(&self, frame: Frame) {
        let _ = self.frames.send(frame).await;
    }
}

/// Both streams of a connection.
struct Streams {
    errors: u32,
    data: u32,
    frames: mpsc::Sender<Frame>,
}

impl Streams {
    /// Leads to a port until that has nothing more to say, or the client wants no more.
    async fn connect(self, forward: Arc<Forward>, port: u16, input: Input) -> u32 {
        let output = |data| self.say(self.data, data, false);
        let leading = forward.lead(port, input.data, output);
        if let Some(Err(why)) = input.reset.run_until_cancelled(leading).await {
            self.say(self.errors, why.into(), false).await;
        }
        for stream in [self.data, self.errors] {
            self.say(stream, Bytes::new(), true).await;
        }
        self.data
    }

    async fn say(&self, stream: u32, data: Bytes, fin: bool) {
        let _ = self.frames.send(Frame::Data { stream, data, fin }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_what_a_stream_is_for() {
        let read = |kind: &str, port: &str, request: Option<&str>| {
            let request = request.map(|request| ("requestid", request));
            let pairs = [("streamtype", kind), ("port", port)].into_iter().chain(request);
            Purpose::read(&pairs.map(|(name, value)| (name.into(), value.into())).collect())
        };
        let purpose = |is_data| Some(Purpose { request: "7".to_owned(), port: 80, is_data });
        assert_eq!(read("data", "80", Some("7")), purpose(true));
        assert_eq!(read("error", "80", Some("7")), purpose(false));
        for (kind, port, request) in
            [("data", "0", Some("7")), ("data", "http", Some("7")), ("other", "80", Some("7"))]
        {
            assert_eq!(read(kind, port, request), None, "{kind} {port}");
        }
        assert_eq!(read("data", "80", None), None);
    }
}
