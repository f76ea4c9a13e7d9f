//! From the moment at which kube-proxy knows of another endpoint until a connection to the Service meets it.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::node::{MODES, Mode, Node};
use crate::{
    Args,
    load::Measured,
    report::{Report, Row},
};

/// Between two changes: what comes of one is over when the next one comes.
const PAUSE: Duration = Duration::from_millis(500);
/// An endpoint that is not met by then is not going to be.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let endpoints = [Endpoint::start(b'a').await?, Endpoint::start(b'b').await?];
    for mode in MODES {
        for &others in &args.other_services {
            // Each has an nginx, of 7 MB.
            if matches!(mode, Mode::Nginx) && others > args.nginx_services {
                continue;
            }
            let what = format!("{mode} another endpoint beside {others} Services");
            let measure = async |report: &mut Report| {
                let times = changes(mode, others, args.endpoint_changes, &endpoints).await?;
                report.add(Row::new(&what).load(&Measured::in_turn(&times)));
                Ok(())
            };
            report.part(&what, measure).await;
        }
    }
    Ok(())
}

/// How long each change of the endpoint took, of so many.
async fn changes(
    mode: Mode,
    others: usize,
    count: usize,
    endpoints: &[Endpoint; 2],
) -> anyhow::Result<Vec<Duration>> {
    let mut node = Node::start(mode).await?;
    let service = node.serve_beside(endpoints[0].address, others).await?;
    endpoints[0].until_met(service).await?;
    let mut times = Vec::new();
    for round in 1..=count {
        tokio::time::sleep(PAUSE).await;
        let endpoint = &endpoints[round % 2];
        let begin = Instant::now();
        node.lead_to(endpoint.address).await?;
        endpoint.until_met(service).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// Says who it is to everybody who connects.
struct Endpoint {
    address: SocketAddrV4,
    says: u8,
    serving: JoinHandle<()>,
}

impl Endpoint {
    async fn start(says: u8) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port());
        let serve = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Who goes before the answer does not want it.
                drop(stream.write_all(&[says]).await);
            }
        };
        Ok(Endpoint { address, says, serving: tokio::spawn(serve) })
    }

    async fn until_met(&self, service: SocketAddrV4) -> anyhow::Result<()> {
        let met = async { while met(service).await != Some(self.says) {} };
        timeout(PATIENCE, met).await.context("the endpoint was not met")
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn met(service: SocketAddrV4) -> Option<u8> {
    TcpStream::connect(service).await.ok()?.read_u8().await.ok()
}
