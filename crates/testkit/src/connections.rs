//! Connections that take a server's room and ask it for nothing.

use futures::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::Apiserver;

/// How many are being opened at once.
const AT_ONCE: usize = 32;

/// Connections to an API server, open until they are dropped.
#[derive(Debug)]
pub struct Connections {
    _silent: Vec<TcpStream>,
    _idle: Vec<TlsStream<TcpStream>>,
    slow: Vec<TlsStream<TcpStream>>,
}

impl Connections {
    /// So many of each sort: they don't even say hello; they say hello and no more; they are in the middle of a
    /// request, which has the server wait for so many seconds.
    pub async fn open(server: &Apiserver, of_each: usize, patience: u32) -> Self {
        let address = server.address();
        let idle = stream::iter(0..2 * of_each).map(|_| server.connect());
        let mut idle: Vec<_> = idle.buffer_unordered(AT_ONCE).collect().await;
        let mut slow = idle.split_off(of_each);
        let head = format!(
            "POST /api/v1/namespaces/default/configmaps?timeout={patience}s HTTP/1.1\r\n\
             host: server\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        for stream in &mut slow {
            stream.write_all(head.as_bytes()).await.expect("the server takes requests");
            stream.flush().await.expect("the server takes requests");
        }
        let silent = stream::iter(0..of_each).then(async |_| TcpStream::connect(address).await);
        let silent = silent.try_collect().await.expect("the server takes connections");
        Self { _silent: silent, _idle: idle, slow }
    }

    /// The first lines of the answers to the requests that were never finished.
    pub async fn answers(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        for stream in &mut self.slow {
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).await.unwrap_or(0);
            let answer = String::from_utf8_lossy(&answer[..length]);
            answers.push(answer.lines().next().unwrap_or_default().to_owned());
        }
        answers
    }
}
