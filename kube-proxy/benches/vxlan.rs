//! What of a TCP connection's bytes between two hosts a VXLAN costs, beside the plain route. `cargo bench -p kube-proxy --bench vxlan`;
//! needs root. The hosts are network namespaces of one machine, joined by a cable.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people to read")]

#[path = "../tests/machines/mod.rs"]
mod machines;

use std::time::Instant;

use kube_proxy::routes::settings::Mode;
use machines::Machine;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How much is sent, in pieces of a MiB.
const MEBIBYTES: u32 = 4096;
const PIECE: usize = 1 << 20;

#[tokio::main]
async fn main() {
    for (what, mode) in [("a route", Mode::Never), ("a VXLAN", Mode::Always)] {
        let (mut one, mut two) = Machine::pair().await;
        (one.vxlan.mode, two.vxlan.mode) = (mode, mode);
        let nodes = [one.node(), two.node()];
        one.reconcile(&nodes).await;
        two.reconcile(&nodes).await;
        let (here, there, _) = one.connected(&two).await.unwrap();
        let begin = Instant::now();
        tokio::join!(send(here), receive(there));
        println!("by {what}: {:.0} MiB/s", f64::from(MEBIBYTES) / begin.elapsed().as_secs_f64());
    }
}

async fn send(mut stream: TcpStream) {
    let piece = vec![0; PIECE];
    for _ in 0..MEBIBYTES {
        stream.write_all(&piece).await.unwrap();
    }
    stream.shutdown().await.unwrap();
}

async fn receive(mut stream: TcpStream) {
    let mut buffer = vec![0; PIECE];
    while stream.read(&mut buffer).await.unwrap() > 0 {}
}
