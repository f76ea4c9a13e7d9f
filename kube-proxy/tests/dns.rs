//! The cluster's DNS on real sockets, by what a real API server in process says.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod coredns;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api_types::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    minik8s::Dns as DnsObject,
};
use futures::future::join_all;
use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use kube_proxy::{
    Wake,
    dns::{Dns, Settings, metrics::Metrics},
    world::{self, World},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{ControlPlane, wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// A client asks again after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that hears from a control plane. Both end with it.
struct Cluster {
    plane: ControlPlane,
    address: SocketAddr,
    following: JoinHandle<()>,
    serving: JoinHandle<()>,
    /// The listener's file, shared.
    listener: std::net::TcpListener,
    /// What is kept for the next start.
    state: TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.following.abort();
        self.serving.abort();
    }
}

impl Cluster {
    /// `stubs` are domains that others know; what remains is asked of `upstream`.
    async fn start(upstream: Vec<SocketAddr>, stubs: &[String]) -> Self {
        Self::of(ControlPlane::start().await, upstream, stubs).await
    }

    async fn of(plane: ControlPlane, upstream: Vec<SocketAddr>, stubs: &[String]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let dns = dns(upstream, stubs, state.path());
        let (address, listener, serving) = serve(dns.clone()).await;
        let listwatch = plane.listwatch();
        let following = tokio::spawn(async move {
            let wake = Arc::new(Wake::default());
            let (nodes, nodes_watch) = world::follow(&listwatch, vec![]);
            let (_world, watches) = World::watch(&listwatch, nodes, &wake, Some(Arc::new(dns)));
            tokio::join!(watches, nodes_watch);
        });
        Cluster { plane, address, following, serving, listener, state }
    }

    fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.plane.client())
    }

    async fn create(&self, name: &str, spec: Value) {
        let service = json!({"metadata": {"name": name}, "spec": spec});
        let service = serde_json::from_value(service).unwrap();
        self.services().create(&PostParams::default(), &service).await.unwrap();
    }

    /// Writes the endpoints of a Service: pods at these last numbers.
    async fn endpoints(&self, service: &str, last: impl IntoIterator<Item = u8>) {
        let endpoint = |last: u8| json!({"addresses": [format!("10.244.0.{last}")]});
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
            "endpoints": last.into_iter().map(endpoint).collect::<Vec<_>>(),
        });
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.plane.client());
        let changed = slices.patch(service, &PatchParams::default(), &Patch::Merge(&slice)).await;
        if changed.is_err() {
            let slice = serde_json::from_value(slice).unwrap();
            slices.create(&PostParams::default(), &slice).await.unwrap();
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        ask(self.address, name, kind).await
    }

    async fn until_told(&self, name: &str, expected: &[&str]) {
        let told = async || {
            let answer = self.ask(name, RecordType::A).await;
            let told = addresses(&answer);
            if told == expected { Ok(()) } else { Err(told) }
        };
        wait::until(&format!("{name} to lead to {expected:?}"), told).await;
    }
}

/// One that knows what is kept in a directory and has heard of nothing.
fn dns(upstream: Vec<SocketAddr>, stubs: &[String], state: &Path) -> Dns {
    let settings = Settings {
        address: Ipv4Addr::new(10, 96, 0, 10).into(),
        domain: "cluster.local".into(),
        ranges: ["10.96.0.0/16", "fd00:10:96::/112"].map(|range| range.parse().unwrap()).into(),
        upstream,
        host_file: "/dev/null".into(),
        stubs: stubs.iter().map(|stub| stub.parse().unwrap()).collect(),
        last_hosts: state.join("dns-hosts"),
    };
    Dns::new(settings, Metrics::default()).unwrap()
}

/// Where it answers, and until when.
async fn serve(dns: Dns) -> (SocketAddr, std::net::TcpListener, JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let tcp = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let serving = tokio::spawn(async move {
        tokio::select! {
            () = dns.serve(udp, tcp) => {}
            () = dns.keep_hosts() => {}
        }
    });
    (address, listener, serving)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.metadata.recursion_desired = true;
    message
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    ask_on(&socket, &question(name, kind)).await
}

async fn ask_on(socket: &UdpSocket, question: &Message) -> Message {
    socket.send(&question.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
    let length = received.expect("no answer").unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    answer
}

async fn ask_by_tcp(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let question = question(name, kind).to_vec().unwrap();
    stream.write_u16(question.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

/// Sorted.
fn addresses(answer: &Message) -> Vec<String> {
    let address = |record: &Record| match record.data {
        RData::A(A(address)) => Some(address.to_string()),
        _ => None,
    };
    let all: BTreeSet<_> = answer.answers.iter().filter_map(address).collect();
    all.into_iter().collect()
}

/// Others, who know one address for names that begin with `known`; counts what it is asked.
async fn others(address: Ipv4Addr) -> (SocketAddr, Arc<AtomicUsize>, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let answering = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = question.clone().into_response();
            let query = question.queries[0].clone();
            if query.name().to_ascii().starts_with("known") {
                let data = RData::A(A(address));
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (at, asked, answering)
}

#[tokio::test]
async fn names_follow_services_and_endpoints() {
    let cluster = Cluster::start(vec![], &[]).await;
    let web = "web.default.svc.cluster.local.";
    cluster.create("web", json!({"clusterIP": "10.96.0.77", "ports": [{"port": 80}]})).await;
    cluster.until_told(web, &["10.96.0.77"]).await;
    let answer = cluster.ask(web, RecordType::A).await;
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);

    cluster.create("db", json!({"clusterIP": "None", "ports": [{"port": 80}]})).await;
    let db = "db.default.svc.cluster.local.";
    cluster.endpoints("db", [1, 2]).await;
    cluster.until_told(db, &["10.244.0.1", "10.244.0.2"]).await;
    cluster.endpoints("db", [2, 3]).await;
    cluster.until_told(db, &["10.244.0.2", "10.244.0.3"]).await;
    let pointer = cluster.ask("3.0.244.10.in-addr.arpa.", RecordType::PTR).await;
    let endpoint = "10-244-0-3.db.default.svc.cluster.local.";
    assert_eq!(pointer.answers[0].data.to_string(), endpoint);

    cluster.services().delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until_told(web, &[]).await;
    let gone = cluster.ask(web, RecordType::A).await;
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(gone.authorities[0].record_type(), RecordType::SOA);
}

#[tokio::test]
async fn a_long_answer_is_cut_short_in_a_datagram_and_whole_on_a_connection() {
    let cluster = Cluster::start(vec![], &[]).await;
    cluster.create("db", json!({"clusterIP": "None"})).await;
    cluster.endpoints("db", 1..=100).await;
    let db = "db.default.svc.cluster.local.";
    let cut = async || {
        let answer = cluster.ask(db, RecordType::A).await;
        if answer.metadata.truncation { Ok(()) } else { Err(answer) }
    };
    wait::until("an answer that is too long", cut).await;
    let whole = ask_by_tcp(cluster.address, db, RecordType::A).await;
    assert_eq!(addresses(&whole).len(), 100);
}

/// Else it would be said to be ready.
#[tokio::test]
async fn questions_that_come_together_all_have_their_answers() {
    let cluster = Cluster::start(vec![], &[]).await;
    let name = "ns.dns.cluster.local.";
    assert_eq!(addresses(&cluster.ask(name, RecordType::A).await), ["10.96.0.10"]);
    let question = question(name, RecordType::A).to_vec().unwrap();
    // More than the kernel keeps by itself. There is one thread: nobody takes one in between.
    let ask = |_| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(cluster.address).unwrap();
        socket.send(&question).unwrap();
        socket.set_nonblocking(true).unwrap();
        UdpSocket::from_std(socket).unwrap()
    };
    let asked: Vec<_> = (0..400).map(ask).collect();
    let answered = async |socket: &UdpSocket| {
        let received = tokio::time::timeout(PATIENCE, async { socket.recv(&mut [0; 512]).await });
        received.await.expect("no answer").unwrap();
    };
    join_all(asked.iter().map(answered)).await;
}

#[tokio::test]
async fn a_server_that_takes_no_more_connections_has_ended() {
    let mut cluster = Cluster::start(vec![], &[]).await;
    let listener = socket2::SockRef::from(&cluster.listener);
    listener.shutdown(std::net::Shutdown::Both).unwrap();
    wait::within("the end of the server", &mut cluster.serving).await.unwrap();
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_may_ask_on_each_again_and_again() {
    let cluster = Cluster::start(vec![], &[]).await;
    let question = question("web.default.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let ask = async |stream: &mut TcpStream| {
        stream.write_u16(question.len().try_into().unwrap()).await?;
        stream.write_all(&question).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await
    };
    let mut streams = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(cluster.address).await.unwrap();
        ask(&mut stream).await.unwrap();
        streams.push(stream);
    }
    let mut more = TcpStream::connect(cluster.address).await.unwrap();
    assert!(ask(&mut more).await.is_err());
    ask(&mut streams[0]).await.unwrap();
    streams.pop();
    wait::until("a place for another", async || {
        let mut stream = TcpStream::connect(cluster.address).await.unwrap();
        ask(&mut stream).await
    })
    .await;
}

#[tokio::test]
async fn a_client_that_answers_in_place_of_asking_loses_its_connection() {
    let cluster = Cluster::start(vec![], &[]).await;
    let mut message = question("web.default.svc.cluster.local.", RecordType::A);
    message.metadata.message_type = MessageType::Response;
    let message = message.to_vec().unwrap();
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&message).await.unwrap();
    assert!(wait::within("the end of the connection", stream.read_u16()).await.is_err());
}

#[tokio::test]
async fn other_names_are_asked_of_others_and_kept() {
    let (at, asked, _usual) = others(Ipv4Addr::new(192, 0, 2, 1)).await;
    let (stub, _, _corp) = others(Ipv4Addr::new(192, 0, 2, 2)).await;
    let cluster = Cluster::start(vec![at], &[format!("corp.example={stub}")]).await;
    for _ in 0..3 {
        cluster.until_told("known.example.com.", &["192.0.2.1"]).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    cluster.until_told("known.corp.example.", &["192.0.2.2"]).await;
    let unknown = cluster.ask("unknown.example.com.", RecordType::A).await;
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);

    let spec = json!({"type": "ExternalName", "externalName": "known.corp.example"});
    cluster.create("far", spec).await;
    let far = "far.default.svc.cluster.local.";
    cluster.until_told(far, &["192.0.2.2"]).await;
    let answer = cluster.ask(far, RecordType::A).await;
    let kinds: Vec<_> = answer.answers.iter().map(Record::record_type).collect();
    assert_eq!(kinds, [RecordType::CNAME, RecordType::A]);
}

#[tokio::test]
async fn without_others_a_name_of_theirs_is_a_failure() {
    let cluster = Cluster::start(vec![], &[]).await;
    let answer = cluster.ask("www.example.com.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn hosts_of_dns_objects_lead_to_their_router_and_nothing_beside_them_does() {
    let (at, _, _others) = others(Ipv4Addr::new(192, 0, 2, 1)).await;
    let cluster = Cluster::start(vec![at], &[]).await;
    let dnses: Api<DnsObject> = Api::default_namespaced(cluster.plane.client());
    let paths = json!([{"path": "/", "service": {"name": "web"}}]);
    let shop =
        json!({"metadata": {"name": "shop"}, "spec": {"host": "known.test", "paths": paths}});
    let shop = serde_json::from_value(shop).unwrap();
    cluster.until_told("known.test.", &["192.0.2.1"]).await;
    dnses.create(&PostParams::default(), &shop).await.unwrap();
    // Its router has no address yet.
    cluster.until_told("known.test.", &[]).await;
    let early = cluster.ask("known.test.", RecordType::A).await;
    assert_eq!(early.metadata.response_code, ResponseCode::ServFail);

    let routers = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let spec = json!({"clusterIP": "10.96.0.80", "ports": [{"port": 80}]});
    let labels = json!({"app.kubernetes.io/managed-by": "minik8s"});
    let router = json!({"metadata": {"name": "dns-router", "labels": labels}, "spec": spec});
    let router = serde_json::from_value(router).unwrap();
    routers.create(&PostParams::default(), &router).await.unwrap();
    cluster.until_told("known.test.", &["10.96.0.80"]).await;
    cluster.until_told("KNOWN.Test.", &["10.96.0.80"]).await;
    cluster.until_told("known.known.test.", &["192.0.2.1"]).await;
    let other = cluster.ask("known.test.", RecordType::AAAA).await;
    assert_eq!(other.metadata.response_code, ResponseCode::NoError);
    assert_eq!(other.authorities[0].name, Name::from_ascii("known.test.").unwrap());

    dnses.delete("shop", &DeleteParams::default()).await.unwrap();
    cluster.until_told("known.test.", &["192.0.2.1"]).await;
}

#[tokio::test]
async fn before_an_api_server_answers_hosts_of_last_time_are_failures_and_no_other_names_are() {
    let (at, _, _others) = others(Ipv4Addr::new(192, 0, 2, 1)).await;
    let mut cluster = Cluster::start(vec![at], &[]).await;
    let shop = json!({
        "metadata": {"name": "shop"},
        "spec": {"host": "known.test", "paths": [{"path": "/", "service": {"name": "web"}}]},
    });
    let dnses: Api<DnsObject> = Api::default_namespaced(cluster.plane.client());
    let shop = serde_json::from_value(shop).unwrap();
    dnses.create(&PostParams::default(), &shop).await.unwrap();
    let file = cluster.state.path().join("dns-hosts");
    let kept = async || match std::fs::read_to_string(&file).unwrap_or_default() {
        text if text == "known.test\n" => Ok(()),
        other => Err(other),
    };
    wait::until("the host is written down", kept).await;
    cluster.serving.abort();
    assert!((&mut cluster.serving).await.unwrap_err().is_cancelled());

    let (server, _listener, serving) = serve(dns(vec![at], &[], cluster.state.path())).await;
    let host = ask(server, "Known.test.", RecordType::A).await;
    assert_eq!(host.metadata.response_code, ResponseCode::ServFail);
    let other = ask(server, "known.example.com.", RecordType::A).await;
    assert_eq!(addresses(&other), ["192.0.2.1"]);
    serving.abort();

    // One that begins for the first time knows of no name that it is none.
    let nothing = tempfile::tempdir().unwrap();
    let (server, _listener, serving) = serve(dns(vec![at], &[], nothing.path())).await;
    let other = ask(server, "known.example.com.", RecordType::A).await;
    assert_eq!(other.metadata.response_code, ResponseCode::ServFail);
    serving.abort();
}

/// Each of 100,000 questions is answered, with at least the endpoint that is always there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_is_lost_while_endpoints_change() {
    let cluster = Cluster::start(vec![], &[]).await;
    cluster.create("db", json!({"clusterIP": "None"})).await;
    cluster.endpoints("db", [1]).await;
    let name = "db.default.svc.cluster.local.";
    cluster.until_told(name, &["10.244.0.1"]).await;
    let changing = async {
        for last in (2u8..9).cycle() {
            cluster.endpoints("db", [1, last]).await;
        }
    };
    let asking = (0..50).map(|_| {
        let address = cluster.address;
        tokio::spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(address).await.unwrap();
            let mut seen = BTreeSet::new();
            for _ in 0..2000 {
                let answer = ask_on(&socket, &question(name, RecordType::A)).await;
                let told = addresses(&answer);
                assert!(told.contains(&"10.244.0.1".to_owned()), "{answer:?}");
                seen.extend(told);
            }
            seen
        })
    });
    let seen = tokio::select! {
        seen = join_all(asking) => seen,
        () = changing => unreachable!("it goes on for ever"),
    };
    let seen: BTreeSet<_> = seen.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(seen.len(), 8, "all endpoints have come by: {seen:?}");
}
