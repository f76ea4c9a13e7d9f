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
            let load = Load { clients, connection, count: args.service_requests / fewer };
            load.on_each(endpoint, &mut report).await;
        }
    }
    let bytes = async |report: &mut Report| bytes_of_a_connection(args, report).await;
    report.part("bytes of a connection", bytes).await;
    endpoints::run(args, &mut report).await?;
    report.part("idle Services", idle::run).await;
    report.part("the cluster's DNS", async |report| dns::run(args, report).await).await;
    Ok(report)
}

async fn bytes_of_a_connection(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let source = Source::start(args.mebibytes).await?;
    let bare = "bare bytes of a connection";
    let time = source.read_at(source.address).await?;
    report.add(Row::new(bare).throughput(args.mebibytes, time));
    for mode in MODES {
        let what = format!("{mode} bytes of a connection");
        let measure = async |report: &mut Report| {
            let mut node = Node::start(mode).await?;
            let service = node.serve(source.address).await?;
            let time = source.read_at(service).await?;
            report.add_beside(bare, Row::new(&what).throughput(args.mebibytes, time));
            Ok(())
        };
        report.part(&what, measure).await;
    }
    Ok(())
}

/// So many requests, by so many clients at once.
struct Load {
    clients: usize,
    connection: Connection,
    count: usize,
}

impl Load {
    /// To the endpoint, and through a Service in each mode.
    async fn on_each(&self, endpoint: SocketAddrV4, report: &mut Report) {
        let what = format!("{} at once, {}", self.clients, self.connection);
        let bare = format!("bare {what}");
        let measure = async |report: &mut Report| {
            report.add(self.on(&bare, endpoint).await?);
            Ok(())
        };
        report.part(&bare, measure).await;
        for mode in MODES {
            let what = format!("{mode} {what}");
            let measure = async |report: &mut Report| {
                let mut node = Node::start(mode).await?;
                let service = node.serve(endpoint).await?;
                report.add_beside(&bare, self.on(&what, service).await?);
                Ok(())
            };
            report.part(&what, measure).await;
        }
    }

    /// The client's CPU time is the endpoint's too.
    async fn on(&self, what: &str, to: SocketAddrV4) -> anyhow::Result<Row> {
        let clients = (0..self.clients).map(|_| Client::new(to, self.connection));
        let mut clients: Vec<_> = clients.collect();
        let ask = async |client: &mut Client, _| client.ask().await;
        // Opens those that stay.
        measure(clients.len(), &mut clients, ask).await?;
        let meter = Meter::start(None, None);
        let measured = measure(self.count, &mut clients, ask).await?;
        Ok(Row::new(what).load(&measured).usage(&meter.read()))
    }
}
