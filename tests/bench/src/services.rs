//! The path of a Service: requests over HTTP and bytes through the nginx that kube-proxy makes for it, through the one that it
//! makes for all, and led by its rules of nftables, beside the same to its one endpoint; how soon another endpoint is met,
//! beside how many other Services; what a Service takes that nobody calls; and the cluster's DNS. Needs root, a running
//! dockerd and the image `minik8s/nginx:0.1`, nft and conntrack. `services.sh` beside this crate runs it all in a network
//! namespace.

mod dns;
mod endpoints;
mod idle;
mod node;
mod throughput;
mod traffic;

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::{
    Args,
    load::measure,
    report::{Report, Row},
    usage::Meter,
};

use node::{MODES, Node};
use throughput::Source;
use traffic::{Client, Connection, backend};

/// Requests on connections that stay, and on one each, of which there are so many times fewer: the kernel remembers every
/// one for a while.
const REQUESTS: [(Connection, usize); 2] = [(Connection::Kept, 1), (Connection::Each, 5)];

pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("The path of a Service");
    let endpoint = backend(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await?;
    for &clients in &args.clients {
        for (connection, fewer) in REQUESTS {
            let count = args.service_requests / fewer;
            let what = format!("{clients} at once, {connection}");
            let bare = format!("bare {what}");
            report.step(&bare);
            report.add(requests(&bare, endpoint, connection, clients, count).await?);
            for mode in MODES {
                let mut node = Node::start(mode).await?;
                let service = node.serve(endpoint).await?;
                let what = format!("{mode} {what}");
                report.step(&what);
                let row = requests(&what, service, connection, clients, count).await?;
                report.add_beside(&bare, row);
            }
        }
    }
    bytes_of_a_connection(args, &mut report).await?;
    endpoints::run(args, &mut report).await?;
    idle::run(&mut report).await?;
    dns::run(args, &mut report).await?;
    Ok(report)
}

async fn bytes_of_a_connection(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let source = Source::start(args.mebibytes).await?;
    let bare = "bare bytes of a connection";
    report.step(bare);
    let time = source.read_at(source.address).await?;
    report.add(Row::new(bare).throughput(args.mebibytes, time));
    for mode in MODES {
        let what = format!("{mode} bytes of a connection");
        report.step(&what);
        let mut node = Node::start(mode).await?;
        let service = node.serve(source.address).await?;
        let time = source.read_at(service).await?;
        report.add_beside(bare, Row::new(what).throughput(args.mebibytes, time));
    }
    Ok(())
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
