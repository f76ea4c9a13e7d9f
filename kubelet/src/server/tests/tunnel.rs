//! Port-forward with a client of its tunnel.

use bytes::BytesMut;
use futures::SinkExt;
use spdy::{Codec, Frame, Headers};
use testkit::wait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::codec::{Decoder, Encoder};

use super::{Served, streams::Client};

/// A client in a tunnel.
struct Tunnel {
    client: Client,
    ours: Codec,
    theirs: Codec,
    read: BytesMut,
}

impl Tunnel {
    async fn open(served: &Served) -> Self {
        let protocol = "SPDY/3.1+portforward.k8s.io";
        let client = served.open("/portForward/default/web", protocol).await.unwrap();
        assert_eq!(client.protocol, protocol);
        Self { client, ours: Codec::default(), theirs: Codec::default(), read: BytesMut::new() }
    }

    /// Says it in two messages, as kubectl does.
    async fn say(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        self.ours.encode(frame, &mut bytes).unwrap();
        for part in [bytes.split_to(8), bytes] {
            self.client.messages.send(Message::Binary(part.freeze())).await.unwrap();
        }
    }

    async fn write(&mut self, stream: u32, data: &'static str, fin: bool) {
        self.say(Frame::Data { stream, data: data.into(), fin }).await;
    }

    async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.theirs.decode(&mut self.read).unwrap() {
                return frame;
            }
            self.read.extend_from_slice(&self.client.next().await.into_data());
        }
    }

    async fn hears(&mut self, stream: u32, data: &'static str, fin: bool) {
        assert_eq!(self.next().await, Frame::Data { stream, data: data.into(), fin });
    }

    /// Opens the streams of a connection: `first` for errors, and the next of a client for data.
    async fn connect(&mut self, first: u32, port: u16) {
        for (stream, kind) in [(first, "error"), (first + 2, "data")] {
            let headers = [
                ("streamtype", kind),
                ("port", &port.to_string()),
                ("requestid", &first.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.say(Frame::SynStream { stream, headers: headers.into(), fin: false }).await;
            let taken = Frame::SynReply { stream, headers: Headers::new(), fin: false };
            assert_eq!(self.next().await, taken);
            if kind == "error" {
                self.write(first, "", true).await;
            }
        }
    }
}

/// All that the client says to a server.
async fn heard_by(server: &mut TcpStream) -> String {
    let mut heard = String::new();
    wait::within("the end", server.read_to_string(&mut heard)).await.unwrap();
    heard
}

#[tokio::test]
async fn connections_in_a_tunnel_lead_into_the_pod_and_end_each_for_itself() {
    let served = Served::with_pod().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tunnel = Tunnel::open(&served).await;
    tunnel.connect(1, port).await;
    let (mut first, _) = listener.accept().await.unwrap();
    tunnel.connect(5, port).await;
    let (mut second, _) = listener.accept().await.unwrap();

    // What the client has said is heard to its end, and what the pod says then is told to its end.
    tunnel.write(3, "one", false).await;
    tunnel.write(7, "two", true).await;
    assert_eq!(heard_by(&mut second).await, "two");
    second.write_all(b"second").await.unwrap();
    tunnel.hears(7, "second", false).await;
    drop(second);
    tunnel.hears(7, "", true).await;
    tunnel.hears(5, "", true).await;

    // What the client takes back ends for the pod too.
    tunnel.say(Frame::RstStream { stream: 3, status: 5 }).await;
    assert_eq!(heard_by(&mut first).await, "one");
    tunnel.hears(3, "", true).await;
    tunnel.hears(1, "", true).await;
}

#[tokio::test]
async fn what_goes_wrong_in_a_tunnel_is_told_and_the_tunnel_stays() {
    let served = Served::with_pod().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut tunnel = Tunnel::open(&served).await;
    tunnel.connect(1, port).await;
    let Frame::Data { stream: 1, data, fin: false } = tunnel.next().await else { panic!() };
    let why = String::from_utf8_lossy(&data).into_owned();
    assert!(why.starts_with(&format!("error forwarding port {port} to pod id")), "{why}");
    tunnel.hears(3, "", true).await;
    tunnel.hears(1, "", true).await;

    let headers = [("streamtype".to_owned(), "data".to_owned())].into();
    tunnel.say(Frame::SynStream { stream: 5, headers, fin: false }).await;
    assert_eq!(tunnel.next().await, Frame::RstStream { stream: 5, status: 1 });
    tunnel.say(Frame::Ping(7)).await;
    assert_eq!(tunnel.next().await, Frame::Ping(7));
    tunnel.say(Frame::GoAway { last: 0, status: 0 }).await;
    tunnel.client.is_over().await;
}
