//! The path of a Service: requests over HTTP through the nginx that kube-proxy makes for it, and led by its rules of
//! nftables, beside the same requests to its one endpoint. Needs root, a running dockerd and the image `minik8s/nginx:0.1`,
//! nft and conntrack.

mod node;
mod traffic;

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::{
    Args,
    load::measure,
    report::{Report, Row},
    usage::Meter,
};

use node::{Mode, Node};
use traffic::{Client, Connection, backend};

/// Requests on connections that stay, and on one each: of these, the kernel remembers every one for a while.
const REQUESTS: [(Connection, usize); 2] =
    [(Connection::Kept, 100_000), (Connection::Each, 20_000)];

pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("The path of a Service");
    let endpoint = backend(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await?;
    for &clients in &args.clients {
        for (connection, count) in REQUESTS {
            let what = format!("{clients} at once, {connection}");
            let bare = format!("bare {what}");
            report.step(&bare);
            report.add(requests(&bare, endpoint, connection, clients, count).await?);
            for mode in [Mode::Nginx, Mode::Nftables] {
                let mut node = Node::start(mode).await?;
                let service = node.serve(endpoint).await?;
                let what = format!("{mode} {what}");
                report.step(&what);
                let row = requests(&what, service, connection, clients, count).await?;
                report.add_beside(&bare, row);
            }
        }
    }
    Ok(report)
}

/// The client's CPU time is the endpoint's too.
async fn requests(
    what: &str,
    to: SocketAddrV4,
    connection: Connection,
    clients: usize,
    count: usize,
) -> anyhow::Result<Row> {
    let mut clients: Vec<_> = (0..clients).map(|_| Client::new(to, connection)).collect();
    let ask = async |client: &mut Client, _| client.ask().await;
    // Opens those that stay.
    measure(clients.len(), &mut clients, ask).await?;
    let meter = Meter::start(None, None);
    let measured = measure(count, &mut clients, ask).await?;
    Ok(Row::new(what).load(&measured).usage(&meter.read()))
}
