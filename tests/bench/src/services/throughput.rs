//! Bytes of one connection from the endpoint.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const PIECE: usize = 1 << 18;
/// Of pieces, in a MiB.
const PIECES: usize = (1 << 20) / PIECE;

/// Sends so many MiB to everybody who connects.
pub(super) struct Source {
    pub(super) address: SocketAddrV4,
    mebibytes: usize,
    serving: JoinHandle<()>,
}

impl Source {
    pub(super) async fn start(mebibytes: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port());
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever has gone is to say so itself.
                tokio::spawn(async move { drop(send(stream, mebibytes).await) });
            }
        };
        Ok(Source { address, mebibytes, serving: tokio::spawn(serve) })
    }

    /// How long all of it takes from that address.
    pub(super) async fn read_at(&self, address: SocketAddrV4) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(address).await?;
        let (mut buffer, mut length) = (vec![0; PIECE], 0);
        loop {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => length += read,
            }
        }
        ensure!(length == self.mebibytes << 20, "{length} bytes of {} MiB", self.mebibytes);
        Ok(begin.elapsed())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn send(mut stream: TcpStream, mebibytes: usize) -> std::io::Result<()> {
    let piece = vec![0; PIECE];
    for _ in 0..mebibytes * PIECES {
        stream.write_all(&piece).await?;
    }
    stream.shutdown().await
}
