//! Questions for the name of a Service, to the cluster's DNS as kube-proxy serves it, beside datagrams that somebody merely
//! gives back.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::ensure;
use api_types::api::core::v1::Service;
use kube::{Api, api::PostParams};
use kube_proxy::{
    Wake,
    dns::{Dns, Settings, make_room, metrics::Metrics},
    world::{self, World},
};
use serde_json::json;
use testkit::ControlPlane;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Args,
    load::measure,
    report::{Report, Row},
};

const NAME: &str = "bench.default.svc.cluster.local";
/// Who is not answered by then asks again.
const PATIENCE: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 3;
/// How many answers may have been given when there is none yet.
const TRIES: usize = 1_000;

pub(super) async fn run(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let (echo, dns) = (Echo::start().await?, Server::start().await?);
    dns.until_known().await?;
    for &clients in &args.clients {
        let count = args.service_requests;
        let bare = format!("datagrams given back, {clients} at once");
        let measure = async |report: &mut Report| {
            report.add(questions(&bare, echo.address, clients, count, false).await?);
            Ok(())
        };
        report.part(&bare, measure).await;
        let what = format!("DNS, {clients} at once");
        let measure = async |report: &mut Report| {
            report.add_beside(&bare, questions(&what, dns.address, clients, count, true).await?);
            Ok(())
        };
        report.part(&what, measure).await;
    }
    Ok(())
}

async fn questions(
    what: &str,
    to: SocketAddr,
    clients: usize,
    count: usize,
    is_answered: bool,
) -> anyhow::Result<Row> {
    let mut sockets = Vec::new();
    for _ in 0..clients {
        sockets.push(client(to).await?);
    }
    let ask = async |socket: &mut UdpSocket, number: usize| {
        let answers = ask(socket, number).await?;
        ensure!(!is_answered || answers == 1, "{answers} answers");
        Ok(())
    };
    Ok(Row::new(what).load(&measure(count, &mut sockets, ask).await?))
}

async fn client(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// How many answers there are to the question for the address of [`NAME`].
async fn ask(socket: &UdpSocket, number: usize) -> anyhow::Result<u16> {
    let [.., high, low] = number.to_be_bytes();
    // A question, with recursion desired: one name, and nothing else.
    let mut question = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in NAME.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    // The root; of the type A, of the internet.
    question.extend([0, 0, 1, 0, 1]);
    let mut answer = [0; 512];
    let length = told(socket, &question, &mut answer).await?;
    ensure!(length >= 12 && answer[..2] == [high, low], "an answer to something else");
    Ok(u16::from_be_bytes([answer[6], answer[7]]))
}

/// As resolvers do, who ask again: a datagram may be lost.
async fn told(socket: &UdpSocket, question: &[u8], answer: &mut [u8]) -> anyhow::Result<usize> {
    for _ in 0..ATTEMPTS {
        socket.send(question).await?;
        if let Ok(received) = timeout(PATIENCE, socket.recv(answer)).await {
            return Ok(received?);
        }
    }
    anyhow::bail!("not answered")
}

/// Gives back what it gets.
struct Echo {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Echo {
    async fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        make_room(&socket);
        let address = socket.local_addr()?;
        let serve = async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                // Who is gone does not want it.
                drop(socket.send_to(&buffer[..length], from).await);
            }
        };
        Ok(Echo { address, serving: tokio::spawn(serve) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The cluster's DNS, with one Service of a control plane in this process.
struct Server {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
    _plane: ControlPlane,
}

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let plane = ControlPlane::start().await;
        let service = json!({"metadata": {"name": "bench"}, "spec": {"ports": [{"port": 80}]}});
        let services: Api<Service> = Api::default_namespaced(plane.client());
        services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
        let settings = Settings {
            address: Ipv4Addr::new(10, 96, 0, 10).into(),
            domain: "cluster.local".into(),
            ranges: vec!["10.96.0.0/16".parse()?],
            upstream: Vec::new(),
            host_file: "/dev/null".into(),
            stubs: Vec::new(),
            last_hosts: "/nonexistent/dns-hosts".into(),
        };
        let dns = Dns::new(settings, Metrics::default())?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = tcp.local_addr()?;
        let (udp, server) = (UdpSocket::bind(address).await?, dns.clone());
        let serving = tokio::spawn(async move { server.serve(udp, tcp).await });
        let listwatch = plane.listwatch();
        let following = tokio::spawn(async move {
            let wake = Arc::new(Wake::default());
            let (nodes, nodes_watch) = world::follow(&listwatch, vec![]);
            let (_world, watches) = World::watch(&listwatch, nodes, &wake, Some(Arc::new(dns)));
            tokio::join!(watches, nodes_watch);
        });
        Ok(Server { address, tasks: [serving, following], _plane: plane })
    }

    async fn until_known(&self) -> anyhow::Result<()> {
        let socket = client(self.address).await?;
        for number in 0..TRIES {
            if ask(&socket, number).await? > 0 {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        anyhow::bail!("the DNS does not know the Service")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
