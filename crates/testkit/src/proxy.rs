//! A TCP proxy between a program and its server, to be cut or frozen by a test.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What a proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Passes everything on.
    Open,
    /// Closes connections, and each new one at once.
    Cut,
    /// Keeps connections, and passes nothing on: like a peer whose cable was pulled.
    Frozen,
}

/// A proxy on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of a server.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (mode, modes) = watch::channel(Mode::Open);
        let acceptor = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, modes.clone()));
            }
        });
        Self { address, mode, acceptor }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and takes no new ones.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Stops passing anything on, without a word to either side.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    /// Works again. Connections that were frozen are closed.
    pub fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.acceptor.abort();
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr, mut modes: watch::Receiver<Mode>) {
    if *modes.borrow_and_update() == Mode::Open {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = modes.changed() => {}
        }
        if *modes.borrow_and_update() == Mode::Frozen {
            swallow(&mut client, &mut modes).await;
        }
        let _ = server.shutdown().await;
    } else if *modes.borrow() == Mode::Frozen {
        swallow(&mut client, &mut modes).await;
    }
}

/// Takes what the client sends until it gives up or the mode changes.
async fn swallow(client: &mut TcpStream, modes: &mut watch::Receiver<Mode>) {
    let mut buffer = [0; 4096];
    let read_all = async { while matches!(client.read(&mut buffer).await, Ok(1..)) {} };
    tokio::select! {
        () = read_all => {}
        _ = modes.changed() => {}
    }
}
