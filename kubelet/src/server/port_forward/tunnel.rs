//! Port-forward as kubectl speaks it: SPDY in a WebSocket. Each connection has two streams, which the
//! client opens: its data, and why it failed. Headers tell which belong together.
//! (Kubernetes: `httpstream.go`; `client-go/tools/portforward`.)

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use axum::extract::ws::WebSocket;
use bytes::{Bytes, BytesMut};
use spdy::{Codec, Error, Frame, Headers};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{
    codec::{Decoder, Encoder},
    sync::{CancellationToken, DropGuard},
};

use super::forward::Forward;
use crate::server::channels::{self, Receiver, Sender, TUNNEL};

// Why a stream is not taken, or no longer.
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 3;
const CANCEL: u32 = 5;
/// How many frames may wait: to be told, and for the pod to read them. A pod that reads less holds up the
/// client's other connections.
const QUEUE: usize = 64;
/// A pod that has read nothing for so long ends its connection.
const STUCK: Duration = Duration::from_secs(30);
/// How many connections a client may have, and how many that have not begun.
const MOST: usize = 1024;
/// How long one stream of a connection waits for the other. (Kubernetes: `streamCreationTimeout`.)
const CREATION: Duration = Duration::from_secs(30);

/// Serves until the client has gone.
pub(super) async fn serve(forward: Forward, socket: WebSocket) {
    let (sender, mut receiver) = channels::split(socket, TUNNEL);
    let (frames, told) = mpsc::channel(QUEUE);
    let mut session = Session::new(forward, frames);
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
struct Pair {
    since: Instant,
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
    fn new(forward: Forward, frames: mpsc::Sender<Frame>) -> Self {
        Self {
            forward: Arc::new(forward),
            frames,
            pairs: BTreeMap::new(),
            open: BTreeMap::new(),
            connections: JoinSet::new(),
        }
    }

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
                request = late(&self.pairs) => {
                    sender.while_deaf(self.give_up(&request)).await;
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
            return self.say(Frame::RstStream { stream, status: PROTOCOL_ERROR }).await;
        };
        let more = self.pairs.len() >= MOST && !self.pairs.contains_key(&request);
        if more || self.open.len() >= MOST {
            return self.say(Frame::RstStream { stream, status: REFUSED_STREAM }).await;
        }
        self.say(Frame::SynReply { stream, headers: Headers::new(), fin: false }).await;
        let new = || Pair { since: Instant::now(), errors: None, data: None };
        let mut pair = self.pairs.remove(&request).unwrap_or_else(new);
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
            Pair { errors: Some(errors), data: Some((data, input)), .. } => {
                let streams = Streams { errors, data, frames: self.frames.clone() };
                self.connections.spawn(streams.connect(self.forward.clone(), port, input));
            }
            half => drop(self.pairs.insert(request, half)),
        }
    }

    async fn said(&mut self, stream: u32, data: Bytes, fin: bool) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        if let Some(input) = &open.input
            // What comes too late for a connection is lost, as everywhere.
            && timeout(STUCK, input.send(data)).await.is_err()
        {
            self.open.remove(&stream);
        } else if fin {
            open.input = None;
        }
    }

    /// Ends what has not become a connection.
    async fn give_up(&mut self, request: &str) {
        let Some(Pair { errors, data, .. }) = self.pairs.remove(request) else { return };
        for stream in errors.into_iter().chain(data.map(|(stream, _)| stream)) {
            self.open.remove(&stream);
            self.say(Frame::RstStream { stream, status: CANCEL }).await;
        }
    }

    /// Who does not listen any more has gone, which others notice.
    async fn say(&self, frame: Frame) {
        let _ = self.frames.send(frame).await;
    }
}

/// The request that has waited too long for its other stream, as soon as there is one.
async fn late(pairs: &BTreeMap<String, Pair>) -> String {
    let Some((request, pair)) = pairs.iter().min_by_key(|(_, pair)| pair.since) else {
        return pending().await;
    };
    sleep_until(pair.since + CREATION).await;
    request.clone()
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
    use crate::runtime::fake::Fake;

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

    /// A session with a pod that is never reached, and what it says.
    fn session() -> (Session, mpsc::Receiver<Frame>) {
        let runtime = Fake::default();
        runtime.hold("connect 80", true);
        let forward = Forward { runtime: Arc::new(runtime), sandbox: "id".to_owned() };
        let (frames, said) = mpsc::channel(4 * MOST);
        (Session::new(forward, frames), said)
    }

    impl Session {
        async fn opens(&mut self, stream: u32, kind: &str, request: u32) {
            let headers =
                [("streamtype", kind), ("port", "80"), ("requestid", &request.to_string())]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.opened(stream, &headers.into(), false).await;
        }
    }

    fn taken(stream: u32) -> Option<Frame> {
        Some(Frame::SynReply { stream, headers: Headers::new(), fin: false })
    }

    fn reset(stream: u32, status: u32) -> Option<Frame> {
        Some(Frame::RstStream { stream, status })
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_does_not_read_loses_its_connection_and_the_others_go_on() {
        let (mut session, mut said) = session();
        session.opens(1, "error", 1).await;
        session.opens(3, "data", 1).await;
        assert_eq!([said.recv().await, said.recv().await], [taken(1), taken(3)]);
        let fill = async {
            for _ in 0..=QUEUE {
                session.said(3, "more".into(), false).await;
            }
        };
        timeout(STUCK * 2, fill).await.unwrap();
        for stream in [3, 1] {
            let end = Frame::Data { stream, data: Bytes::new(), fin: true };
            assert_eq!(said.recv().await, Some(end));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_wait_for_their_other_are_few_and_do_not_wait_for_long() {
        let (mut session, mut said) = session();
        let streams = || (1..).step_by(2);
        for stream in streams().take(MOST) {
            session.opens(stream, "error", stream).await;
            assert_eq!(said.recv().await, taken(stream));
        }
        let more = streams().nth(MOST).unwrap();
        session.opens(more, "error", more).await;
        assert_eq!(said.recv().await, reset(more, REFUSED_STREAM));
        session.opens(more, "data", 1).await;
        assert_eq!(said.recv().await, taken(more));
        let request = timeout(CREATION * 2, late(&session.pairs)).await.unwrap();
        session.give_up(&request).await;
        assert_eq!(said.recv().await, reset(request.parse().unwrap(), CANCEL));
        session.opens(more + 2, "error", more).await;
        assert_eq!(said.recv().await, taken(more + 2));
    }

    #[tokio::test]
    async fn connections_are_few() {
        let (mut session, mut said) = session();
        for stream in (1..).step_by(4).take(MOST) {
            session.opens(stream, "error", stream).await;
            session.opens(stream + 2, "data", stream).await;
            assert_eq!([said.recv().await, said.recv().await], [taken(stream), taken(stream + 2)]);
        }
        session.opens(9999, "error", 9999).await;
        assert_eq!(said.recv().await, reset(9999, REFUSED_STREAM));
    }
}
