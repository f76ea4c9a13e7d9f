//! Requests over HTTP and who answers them, as cheap as they can be: they are to show the path between them.

use std::{convert::Infallible, fmt, net::SocketAddrV4};

use anyhow::ensure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

const BODY: &str = "This is the end of an answer.";

/// As many as nginx and the kernel let wait.
const BACKLOG: u32 = 4096;

/// Whether it is kept for the next request, or each has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Kept,
    Each,
}

impl Connection {
    fn request(self) -> &'static [u8] {
        match self {
            Self::Kept => b"GET / HTTP/1.1\r\nhost: service\r\n\r\n",
            Self::Each => b"GET / HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n",
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "connections kept",
            Self::Each => "a connection each",
        })
    }
}

/// Answers every request at this address with the same text.
pub(super) async fn backend(address: SocketAddrV4) -> anyhow::Result<SocketAddrV4> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(address.into())?;
    let listener = socket.listen(BACKLOG)?;
    let address = SocketAddrV4::new(*address.ip(), listener.local_addr()?.port());
    tokio::spawn(serve(listener));
    Ok(address)
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // A connection that breaks is its client's to tell.
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            let answer = service_fn(answer);
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await)
        });
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(BODY)))
}

/// Asks again and again.
pub(super) struct Client {
    address: SocketAddrV4,
    connection: Connection,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: SocketAddrV4, connection: Connection) -> Self {
        Self { address, connection, stream: None, answer: Vec::new() }
    }

    pub(super) async fn ask(&mut self) -> anyhow::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.write_all(self.connection.request()).await?;
        self.answer.clear();
        while !self.answer.ends_with(BODY.as_bytes()) {
            ensure!(stream.read_buf(&mut self.answer).await? > 0, "half an answer");
        }
        match self.connection {
            Connection::Kept => self.stream = Some(stream),
            // Whoever closes first keeps the port for a minute: the server does.
            Connection::Each => drop(stream.read_buf(&mut self.answer).await?),
        }
        Ok(())
    }
}
