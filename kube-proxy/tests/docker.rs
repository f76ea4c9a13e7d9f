//! The whole data path with the real Docker, nginx and kernel: needs root, a Docker daemon and the
//! image `minik8s/nginx:0.1`. Backends are listeners of this process on 127.0.0.1, so nothing that
//! is sent here leaves the machine; before the first connection each test makes sure of that.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "docker/gateways.rs"]
mod gateways;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use api_machinery::host_routes::Kind;
use ipnet::Ipv4Net;
use kube_proxy::{
    addresses::{Addresses, Loopback},
    backend::{
        Backend, Nginx, SharedNginx, router,
        service::spec,
        shared::{self, HostSockets},
    },
    configs::Configs,
    containers::{Containers, Found},
    docker::Docker,
    instance::InstanceSpec,
    nginx::{
        Configuration,
        http::{Certificate, Http, Location, Path, Seen, Server},
    },
    plan::{Balancing, Outside, PortPlan, PortRef, Protocol, ServicePlan},
    reconciler::{Reconciler, Summary},
    router::{HostPath, HostPlan, Onward, RouterPlan, Target},
    status,
    workers::{self, OldWorkers},
};

const HOST: &str = "unix:///var/run/docker.sock";
const IMAGE: &str = "minik8s/nginx:0.1";
const UID: &str = "kube-proxy-test";
const PORT: u16 = 18080;
const PATIENCE: Duration = Duration::from_secs(30);

/// How many nginxes carry the Services.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    PerService,
    Shared,
}

/// The same of each form.
macro_rules! in_each_form {
    ($($test:ident)*) => {$(
        mod $test {
            #[tokio::test(flavor = "multi_thread")]
            async fn per_service() {
                super::$test(super::Form::PerService).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn shared() {
                super::$test(super::Form::Shared).await;
            }
        }
    )*};
}

in_each_form! {
    a_service_is_balanced_reloaded_adopted_revived_and_removed
    an_endpoint_that_has_refused_connections_gets_its_share_as_soon_as_it_listens
    connections_outlive_changes_of_other_endpoints
    connections_outlive_an_address_that_comes_and_goes
    a_socket_that_is_taken_is_reported_and_tried_again
    who_comes_from_outside_is_led_by_the_policy_for_outside_and_the_balancers_clients_are_chosen
    a_server_of_the_host_on_a_node_port_is_reported_and_nothing_to_the_virtual_ip
}

/// A node of its own on this machine: range, name and state shared with no other kube-proxy. (One
/// that serves a cluster here would release addresses of its own range.)
struct Node {
    form: Form,
    range: Ipv4Net,
    vip: IpAddr,
    pods: Ipv4Net,
    name: String,
    state: tempfile::TempDir,
}

impl Node {
    /// `number`: of the test.
    async fn new(number: u8) -> Self {
        Self::of(Form::PerService, number).await
    }

    async fn of(form: Form, number: u8) -> Self {
        let third = if form == Form::Shared { 254 } else { 255 };
        let base = Ipv4Addr::new(10, 99, third, number * 16);
        let node = Node {
            form,
            range: Ipv4Net::new(base, 28).unwrap(),
            vip: Ipv4Addr::from_bits(base.to_bits() + 10).into(),
            pods: Ipv4Net::new(Ipv4Addr::new(127, third - 150, number, 0), 28).unwrap(),
            name: format!("kube-proxy-test-{}-{third}-{number}", std::process::id()),
            state: tempfile::tempdir().unwrap(),
        };
        node.addresses().await.fence().await.unwrap();
        let route = node.route();
        assert!(!route.contains("dev"), "an address nobody holds would be sent out: {route}");
        node
    }

    /// Where packets for the Service go.
    fn route(&self) -> String {
        output("ip", &["route", "get", &self.vip.to_string()])
    }

    /// A kube-proxy that has just begun.
    async fn proxy(&self) -> Box<dyn Backend> {
        let configs = Configs::open(self.state.path()).unwrap();
        let (docker, addresses) = (self.docker(), self.addresses().await);
        match self.form {
            Form::PerService => Box::new(Nginx(Reconciler::new(docker, addresses, configs))),
            Form::Shared => {
                let sockets = Box::new(HostSockets);
                Box::new(SharedNginx::new(self.range.into(), docker, addresses, configs, sockets))
            }
        }
    }

    async fn reconciler(&self) -> Reconciler<Docker, Loopback> {
        let configs = Configs::open(self.state.path()).unwrap();
        Reconciler::new(self.docker(), self.addresses().await, configs)
    }

    /// An address of loopback that is as if it were the host's.
    fn here(&self, last: u8) -> IpAddr {
        Ipv4Addr::from_bits(self.pods.network().to_bits() + u32::from(last)).into()
    }

    async fn addresses(&self) -> Loopback {
        Loopback::open(self.range.into(), self.pods.into()).await.unwrap()
    }

    fn docker(&self) -> Docker {
        Docker::new(docker::Docker::new(HOST).unwrap(), IMAGE, &self.name)
    }

    async fn container(&self) -> Found {
        let mut found = self.docker().list().await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Another address, for what is no Service.
    fn site(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.range.network().to_bits() + 11).into()
    }

    fn service(&self, ports: Vec<PortPlan>) -> ServicePlan {
        ServicePlan {
            namespace: "default".into(),
            name: "web".into(),
            uid: UID.into(),
            ips: [self.vip].into(),
            affinity: None,
            balancing: Balancing::default(),
            kept: [].into(),
            outside: Outside::default(),
            ports,
        }
    }

    /// The Service with TCP port [`PORT`] for these.
    fn web(&self, endpoints: &[SocketAddr]) -> ServicePlan {
        self.service(vec![port(PORT, Protocol::Tcp, endpoints)])
    }

    /// The nginx that was started first for the Service.
    async fn master(&self) -> i32 {
        let uid = if self.form == Form::Shared { shared::UID } else { UID };
        let socket = Configs::open(self.state.path()).unwrap().directory(uid).status_socket();
        status::ask(&socket).await.unwrap().master.unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((self.vip, PORT)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn udp(&self, port: u16) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect((self.vip, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn remove_chain(&self, kind: &str, range: Ipv4Net, matches: &str) {
        let chain = format!("MINIK8S-{kind}-{:08x}-28", range.network().to_bits());
        for words in
            [format!("-D INPUT {matches} -j {chain}"), format!("-F {chain}"), format!("-X {chain}")]
        {
            output("iptables", &[&["-w"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
        }
    }

    /// Who answers `count` connections; none where one is refused.
    fn census(&self, count: usize) -> Vec<Option<String>> {
        let ask = |_| {
            let mut stream = TcpStream::connect((self.vip, PORT)).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        };
        let mut answers: Vec<_> = (0..count).map(ask).collect();
        answers.sort();
        answers
    }

    /// Waits until four connections are answered by exactly `expected`, in this order.
    fn until_answered_by(&self, expected: [Option<&str>; 4]) {
        let expected = expected.map(|name| name.map(str::to_owned));
        until(&format!("{expected:?} answer"), || self.census(4) == expected);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let filter = format!("label=io.minik8s.node={}", self.name);
        let ids = output("docker", &["ps", "-aq", "--filter", &filter]);
        for id in ids.split_whitespace() {
            output("docker", &["rm", "-f", id]);
        }
        let range = self.range.to_string();
        for address in [self.vip, self.site()] {
            output("ip", &["address", "del", &format!("{address}/32"), "dev", "lo"]);
        }
        output("ip", &["route", "del", "blackhole", &range]);
        self.remove_chain("VIP", self.range, &format!("-d {range} -m conntrack --ctstate NEW"));
        self.remove_chain("UDP", self.pods, &format!("-s {} -p icmp --icmp-type 3/3", self.pods));
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::yield_now();
    }
}

fn port(port: u16, protocol: Protocol, endpoints: &[SocketAddr]) -> PortPlan {
    let endpoints = endpoints.iter().copied().collect();
    PortPlan { port, protocol, endpoints, node_port: None, outside_endpoints: [].into() }
}

/// Passes until one finds nothing to do, or something at fault.
async fn settle(proxy: &mut dyn Backend, plan: &ServicePlan) -> Summary {
    settle_all_of(proxy, std::slice::from_ref(plan)).await
}

/// The same of all Services.
async fn settle_all_of(proxy: &mut dyn Backend, plans: &[ServicePlan]) -> Summary {
    let deadline = Instant::now() + PATIENCE;
    loop {
        proxy.want_all(plans.to_vec());
        let summary = proxy.pass().await.unwrap();
        if summary.pending == 0 || !summary.failed.is_empty() {
            return summary;
        }
        assert!(Instant::now() < deadline, "not settled: {summary:?}");
        tokio::task::yield_now().await;
    }
}

async fn settle_well(proxy: &mut dyn Backend, plan: &ServicePlan) {
    let summary = settle(proxy, plan).await;
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
}

/// A server that treats every connection by `serve`.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    server_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), serve)
}

fn server_at(
    address: SocketAddr,
    serve: impl Fn(TcpStream) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (serve, connection) = (serve.clone(), connection.unwrap());
            thread::spawn(move || serve(connection));
        }
    });
    address
}

/// One that answers with its name.
fn backend(name: &'static str) -> SocketAddr {
    backend_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), name)
}

fn backend_at(address: SocketAddr, name: &'static str) -> SocketAddr {
    server_at(address, move |mut connection| drop(connection.write_all(name.as_bytes())))
}

/// One that repeats each line.
fn echo() -> SocketAddr {
    server(|mut connection| {
        let mut lines = BufReader::new(connection.try_clone().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            connection.write_all(line.as_bytes()).unwrap();
            line.clear();
        }
    })
}

/// One that answers each datagram with `answers`.
fn udp(answers: usize) -> SocketAddr {
    udp_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), answers)
}

fn udp_at(address: SocketAddr, answers: usize) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            (0..answers).for_each(|_| drop(socket.send_to(&buffer[..length], from)));
        }
    });
    SocketAddr::new(address.ip(), port)
}

/// Whether a line comes back.
fn is_alive(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 2];
    stream.write_all(b"x\n").is_ok() && stream.read_exact(&mut answer).is_ok()
}

async fn a_service_is_balanced_reloaded_adopted_revived_and_removed(form: Form) {
    let node = Node::of(form, 0).await;
    let mut proxy = node.proxy().await;

    // Two backends share the connections.
    let (a, b) = (backend("a"), backend("b"));
    settle_well(&mut *proxy, &node.web(&[a, b])).await;
    assert!(node.route().starts_with("local"), "not a local address: {}", node.route());
    node.until_answered_by([Some("a"), Some("a"), Some("b"), Some("b")]);
    let first = node.container().await;

    // One leaves: the other gets them all, from the same nginx.
    settle_well(&mut *proxy, &node.web(&[b])).await;
    node.until_answered_by([Some("b"); 4]);
    assert_eq!(node.container().await, first);

    // kube-proxy is gone: traffic flows. A new one adopts the container and catches up.
    drop(proxy);
    node.until_answered_by([Some("b"); 4]);
    let mut proxy = node.proxy().await;
    settle_well(&mut *proxy, &node.web(&[a])).await;
    node.until_answered_by([Some("a"); 4]);
    assert_eq!(node.container().await, first);

    // No endpoint is left: connections are refused.
    settle_well(&mut *proxy, &node.web(&[])).await;
    node.until_answered_by([None; 4]);

    // The nginx is killed: a pass brings it back with the present configuration.
    output("docker", &["kill", &first.id]);
    proxy.distrust_containers();
    settle_well(&mut *proxy, &node.web(&[a, b])).await;
    node.until_answered_by([Some("a"), Some("a"), Some("b"), Some("b")]);
    assert_eq!(node.container().await.id, first.id);

    // The Service goes, and its address with it.
    assert!(settle_all_of(&mut *proxy, &[]).await.failed.is_empty());
    assert_eq!(node.docker().list().await.unwrap(), []);
    assert!(!node.route().starts_with("local"));
}

async fn an_endpoint_that_has_refused_connections_gets_its_share_as_soon_as_it_listens(form: Form) {
    let node = Node::of(form, 12).await;
    let mut proxy = node.proxy().await;
    let pod = |last: u8| SocketAddr::new(node.here(last), 5000);
    let (a, b) = (pod(2), pod(3));
    settle_well(&mut *proxy, &node.web(&[a, b])).await;
    // Nobody listens: all are tried, and none is given up.
    assert!(node.census(4).into_iter().flatten().all(|answer| answer.is_empty()));
    let answers = |expected: [&str; 4]| {
        assert_eq!(node.census(4), expected.map(|name| Some(name.to_owned())));
    };
    backend_at(a, "a");
    answers(["a"; 4]);
    backend_at(b, "b");
    answers(["a", "a", "b", "b"]);
}

async fn connections_outlive_changes_of_other_endpoints(form: Form) {
    let node = Node::of(form, 1).await;
    let mut proxy = node.proxy().await;
    let (stays, goes) = (echo(), echo());
    settle_well(&mut *proxy, &node.web(&[stays])).await;
    let mut old = [node.connect(), node.connect()];
    assert!(old.iter_mut().all(is_alive));
    settle_well(&mut *proxy, &node.web(&[stays, goes])).await;
    settle_well(&mut *proxy, &node.web(&[stays])).await;
    let mut newer = node.connect();
    assert!(is_alive(&mut newer));
    settle_well(&mut *proxy, &node.web(&[stays, goes])).await;
    assert!(old.iter_mut().all(is_alive) && is_alive(&mut newer));

    // A worker stays for each time in which connections began that last, and only for those.
    let master = node.master().await;
    let files = || workers::draining(master).unwrap().into_iter().map(|worker| worker.files);
    // A worker that was just asked for its state still holds that connection for a moment.
    until("two workers are left, of which one has a connection more", || {
        let (fewest, most) = (files().min(), files().max());
        files().count() == 2 && most.zip(fewest).is_some_and(|(most, fewest)| most - fewest == 2)
    });

    // Beyond the bound, the one with the fewest connections ends.
    assert_eq!(workers::end_surplus(master, 2).unwrap(), OldWorkers { left: 2, ended: 0 });
    assert_eq!(workers::end_surplus(master, 1).unwrap(), OldWorkers { left: 1, ended: 1 });
    assert_eq!(newer.read(&mut [0]).unwrap_or(0), 0);
    assert!(old.iter_mut().all(is_alive));
}

/// As with a second family.
async fn connections_outlive_an_address_that_comes_and_goes(form: Form) {
    let node = Node::of(form, 11).await;
    let mut proxy = node.proxy().await;
    let (one, stays) = ([node.vip].into(), echo());
    settle_well(&mut *proxy, &node.web(&[stays])).await;
    let container = node.container().await.id;
    let mut old = node.connect();
    assert!(is_alive(&mut old));
    let both = ServicePlan { ips: [node.vip, node.site()].into(), ..node.web(&[stays]) };
    settle_well(&mut *proxy, &both).await;
    let second = || -> io::Result<TcpStream> {
        let stream = TcpStream::connect((node.site(), PORT))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    assert!(is_alive(&mut second().unwrap()) && is_alive(&mut old));

    // A host that comes up while no API server answers serves at both.
    output("docker", &["kill", &container]);
    for address in [node.vip, node.site()] {
        node.addresses().await.release(address).await.unwrap();
    }
    let mut proxy = node.proxy().await;
    assert!(proxy.resume().await.unwrap().is_empty());
    until("both addresses are served", || second().is_ok_and(|mut stream| is_alive(&mut stream)));
    let mut old = node.connect();
    assert!(is_alive(&mut old));

    settle_well(&mut *proxy, &node.web(&[stays])).await;
    assert!(is_alive(&mut old) && second().is_err());
    assert_eq!(node.addresses().await.list().await.unwrap().held, one);
    assert_eq!(node.container().await.id, container);
}

async fn a_socket_that_is_taken_is_reported_and_tried_again(form: Form) {
    let node = Node::of(form, 2).await;
    let mut proxy = node.proxy().await;
    let a = backend("a");
    settle_well(&mut *proxy, &node.web(&[a])).await;
    let taken = TcpListener::bind((node.vip, PORT + 1)).unwrap();
    let ports = [PORT, PORT + 1].map(|number| port(number, Protocol::Tcp, &[a]));
    let wanted = node.service(ports.to_vec());
    let summary = settle(&mut *proxy, &wanted).await;
    let why = format!("{:#}", summary.failed[0].error);
    let taken_at = format!("{}:{}", node.vip, PORT + 1);
    assert!(why.contains(&taken_at) && why.contains("in use"), "{why}");
    node.until_answered_by([Some("a"); 4]);

    drop(taken);
    let deadline = Instant::now() + PATIENCE;
    while !settle(&mut *proxy, &wanted).await.failed.is_empty() {
        assert!(Instant::now() < deadline, "not tried again");
    }
    TcpStream::connect((node.vip, PORT + 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_nginx_a_service_to_one_for_all_and_back_no_container_is_left_behind() {
    let mut node = Node::new(10).await;
    let wanted = node.web(&[backend("a")]);
    let mut met = Vec::new();
    for form in [Form::PerService, Form::Shared, Form::PerService] {
        node.form = form;
        settle_well(&mut *node.proxy().await, &wanted).await;
        node.until_answered_by([Some("a"); 4]);
        met.push(node.container().await.uid);
    }
    assert_eq!(met, [UID, shared::UID, UID]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let node = Node::new(3).await;
    let mut proxy = node.proxy().await;
    let counter = server(|mut connection| {
        let mut text = Vec::new();
        connection.read_to_end(&mut text).unwrap();
        // The answer takes its time.
        thread::park_timeout(Duration::from_millis(300));
        connection.write_all(text.len().to_string().as_bytes()).unwrap();
    });
    settle_well(&mut *proxy, &node.web(&[counter])).await;
    let mut stream = node.connect();
    stream.write_all(b"12345").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_by_the_ten_thousand_and_datagrams_as_often_as_they_are() {
    let node = Node::new(4).await;
    let mut proxy = node.proxy().await;
    let (dns, game) = (udp(1), udp(3));
    let ports = [port(53, Protocol::Udp, &[dns]), port(PORT, Protocol::Udp, &[game])];
    settle_well(&mut *proxy, &node.service(ports.to_vec())).await;
    assert!(node.route().starts_with("local"), "not a local address");

    // As resolvers ask: a port of its own for each question.
    for _ in 0..40_000 {
        let socket = node.udp(53);
        socket.send(b"?").unwrap();
        socket.recv(&mut [0; 8]).unwrap();
    }

    // Two questions from one port, as for A and AAAA.
    let socket = node.udp(53);
    for question in [b"A", b"B"] {
        socket.send(question).unwrap();
    }
    let mut answers = [[0; 1]; 2].map(|mut buffer| {
        socket.recv(&mut buffer).unwrap();
        buffer[0]
    });
    answers.sort_unstable();
    assert_eq!(answers, *b"AB");

    let socket = node.udp(PORT);
    socket.send(b"!").unwrap();
    for _ in 0..3 {
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
    }
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_began_before_its_pod_listened_is_answered_once_it_does() {
    let node = Node::new(6).await;
    let pod = node.pods.hosts().next().unwrap();
    // Nobody else takes ports of that address.
    let endpoint = SocketAddr::new(pod.into(), 5000);
    let mut proxy = node.proxy().await;
    settle_well(&mut *proxy, &node.service(vec![port(PORT, Protocol::Udp, &[endpoint])])).await;
    let socket = node.udp(PORT);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.send(b"?").unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    udp_at(endpoint, 1);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"!").unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_with_one_endpoint_until_it_has_been_away_for_long_enough() {
    let node = Node::new(5).await;
    let mut proxy = node.proxy().await;
    // So many that two epochs hardly ever take the same one.
    let names = "abcdefghijklmnopqrstuvwxyz".split_inclusive(char::is_alphabetic);
    let backends: Vec<_> = names.map(backend).collect();
    let affinity = Some(Duration::from_secs(3));
    let sticky = ServicePlan { affinity, ..node.web(&backends) };
    settle_well(&mut *proxy, &sticky).await;
    let master = node.master().await;
    let mut met = std::collections::BTreeSet::new();
    let deadline = Instant::now() + PATIENCE * 2;
    // In each epoch it is one of them.
    while met.len() < 2 {
        assert!(Instant::now() < deadline, "always {met:?}");
        // The worker of the epoch before keeps its door open for a moment.
        let children = format!("/proc/{master}/task/{master}/children");
        let one = || fs::read_to_string(&children).unwrap().split_whitespace().count() == 1;
        until("one worker is left", one);
        let census = node.census(50);
        assert_eq!(census.first(), census.last(), "one client, several endpoints");
        met.insert(census[0].clone().unwrap());
        let config = || fs::read_to_string(node.state.path().join(UID).join("nginx.conf")).unwrap();
        let before = config();
        while config() == before {
            assert!(Instant::now() < deadline, "never forgotten");
            tokio::time::sleep(Duration::from_millis(100)).await;
            settle_well(&mut *proxy, &sticky).await;
        }
        settle_well(&mut *proxy, &sticky).await;
    }
}

/// One that answers every HTTP request with its name and the header `X-Mark` that it got.
fn web_backend(name: &'static str) -> SocketAddr {
    server(move |mut connection| {
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
        let head: Vec<_> =
            lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let mark = head.iter().find_map(|line| line.strip_prefix("X-Mark: "));
        let text = format!("{name}{}", mark.map(|mark| format!(" {mark}")).unwrap_or_default());
        let length = text.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n");
        let _ = connection.write_all(format!("{head}\r\n{text}").as_bytes());
    })
}

/// A certificate for that host.
fn certificate(host: &str) -> Certificate {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, chain) = (path("key"), path("chain"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    let subject = format!("/CN={host}");
    let mut words: Vec<_> = words.split(' ').collect();
    words.extend(["-subj", &subject, "-keyout", &key, "-out", &chain]);
    output("openssl", &words);
    Certificate { chain: fs::read(chain).unwrap(), key: fs::read(key).unwrap() }
}

/// Requests that go there, with that header.
fn to(path: Path, upstream: &str, mark: Option<&str>) -> Location {
    let headers = mark.iter().map(|mark| ("X-Mark".to_owned(), (*mark).to_owned())).collect();
    Location { path, upstream: upstream.to_owned(), seen: Seen::Whole, secure: false, headers }
}

fn below(path: &str) -> Path {
    Path::Prefix(path.to_owned())
}

/// The hosts `one.test`, with these paths and also with TLS as somebody, and `two.test`, which is all `b`'s.
fn sites(site: IpAddr, paths: Vec<Location>, certified: &str) -> InstanceSpec {
    let host = |name: &str, tls, port, locations| Server {
        addresses: [SocketAddr::new(site, port)].into(),
        names: [name.to_owned()].into(),
        tls,
        locations,
    };
    let servers = vec![
        host("one.test", None, PORT, paths.clone()),
        host("two.test", None, PORT, vec![to(below("/"), "b", None)]),
        host("one.test", Some(certificate(certified)), PORT + 1, paths),
    ];
    let upstreams = ["a", "b"].map(|name| (name.to_owned(), [web_backend(name)].into())).into();
    InstanceSpec {
        kind: "DNS".to_owned(),
        uid: "kube-proxy-test-site".to_owned(),
        owner: "default/site".to_owned(),
        name: "dns_site".to_owned(),
        labels: [("io.minik8s.dns".to_owned(), "default/site".to_owned())].into(),
        addresses: [site].into(),
        configuration: Configuration {
            title: "DNS default/site".to_owned(),
            connections: 1024,
            stream: String::new(),
            http: Http { upstreams, servers, ..Http::default() },
            affinity: None,
            draining_connections: 262_144,
        },
    }
}

/// What is answered, and the status.
fn fetch(url: &str, address: IpAddr) -> (String, String) {
    let (host, port) = url.split('/').nth(2).unwrap().split_once(':').unwrap();
    let resolve = format!("{host}:{port}:{address}");
    let words =
        ["-sk", "--noproxy", "*", "--resolve", &resolve, "-m", "10", "-w", " %{http_code}", url];
    let text = output("curl", &words);
    let (body, status) = text.rsplit_once(' ').unwrap();
    (body.to_owned(), status.to_owned())
}

/// Who proves to be that host.
fn subject(address: SocketAddr) -> String {
    let script = format!("openssl s_client -connect {address} </dev/null 2>&1 | grep subject");
    output("sh", &["-c", &script])
}

async fn settle_all(proxy: &mut Reconciler<Docker, Loopback>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let summary = proxy.pass().await.unwrap();
        assert!(summary.failed.is_empty() && Instant::now() < deadline, "{summary:?}");
        if summary.pending == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_paths_are_served_beside_a_service_and_go_without_it() {
    let node = Node::new(7).await;
    let mut proxy = node.reconciler().await;
    let site = node.site();
    let secure = SocketAddr::new(site, PORT + 1);
    let paths = vec![
        to(below("/a"), "a", None),
        to(below("/a/deeper"), "b", Some("5 $ \"net\"; #")),
        to(Path::Exact("/only".to_owned()), "b", None),
    ];
    proxy.want_all("Service", vec![spec(&node.web(&[backend("service")]))]);
    proxy.want_all("DNS", vec![sites(site, paths, "one.test")]);
    settle_all(&mut proxy).await;
    node.until_answered_by([Some("service"); 4]);

    let at = |url: &str| fetch(url, site);
    let answer = |body: &str, status: &str| (body.to_owned(), status.to_owned());
    let url = |path: &str| format!("http://one.test:{PORT}{path}");
    assert_eq!(at(&url("/a")), answer("a", "200"));
    assert_eq!(at(&url("/a/x")), answer("a", "200"));
    assert_eq!(at(&url("/a/deeper/x")), answer("b 5 $ \"net\"; #", "200"));
    assert_eq!(at(&url("/only")), answer("b", "200"));
    for path in ["/", "/ab", "/only/x"] {
        assert_eq!(at(&url(path)).1, "404", "{path}");
    }
    assert_eq!(at(&format!("http://two.test:{PORT}/anything")), answer("b", "200"));
    assert_eq!(at(&format!("https://one.test:{}/a", PORT + 1)), answer("a", "200"));
    assert!(subject(secure).contains("one.test"), "{}", subject(secure));

    // Other paths and another certificate: a reload, which is known to be taken.
    let containers = async || {
        let mut found = node.docker().list().await.unwrap();
        found.sort_by(|a, b| a.uid.cmp(&b.uid));
        found.into_iter().map(|found| (found.kind, found.id)).collect::<Vec<_>>()
    };
    let before = containers().await;
    assert_eq!(
        before.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["Service", "DNS"]
    );
    proxy.want(sites(site, vec![to(below("/"), "b", None)], "renewed.test"));
    settle_all(&mut proxy).await;
    // The old worker may take a connection for a moment.
    until("the other paths count", || at(&url("/a")) == answer("b", "200"));
    until("the other certificate counts", || subject(secure).contains("renewed.test"));
    assert_eq!(containers().await, before);

    // The Services go, and then the others.
    proxy.want_all("Service", Vec::new());
    settle_all(&mut proxy).await;
    assert_eq!(containers().await, before[1..]);
    until("the sites are still served", || at(&url("/a")) == answer("b", "200"));
    proxy.want_all("DNS", Vec::new());
    settle_all(&mut proxy).await;
    assert_eq!(containers().await, []);
}

/// One that answers with the head of the request, but for `/to?PLACE`, from where it sends there (`HOST` is the request's), as
/// it has nginx do for `/within?PLACE`, and upgrades, after which it gives back what it gets.
fn telling_backend() -> SocketAddr {
    server(|mut connection| {
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let lines = reader.by_ref().lines().map_while(Result::ok);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let path = head[0].split(' ').nth(1).unwrap();
        let host = head.iter().find_map(|line| line.strip_prefix("Host: ")).unwrap();
        let answer = match path.split_once('?') {
            Some(("/to", place)) => {
                let place = place.replace("HOST", host);
                format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n")
            }
            Some(("/within", place)) => {
                format!("HTTP/1.1 200 OK\r\nX-Accel-Redirect: {place}\r\n\r\nwithin\n")
            }
            _ if head.iter().any(|line| line == "Upgrade: websocket") => {
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned()
            }
            _ => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}\n", head.join("\n")),
        };
        connection.write_all(answer.as_bytes()).unwrap();
        if answer.contains(" 101 ") {
            let mut word = [0; 4];
            reader.read_exact(&mut word).unwrap();
            connection.write_all(&word).unwrap();
        }
        // What is left of a body is read, or the answer would be lost with the connection.
        let _ = connection.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    })
}

/// What is answered to a request for that host.
fn say(router: IpAddr, host: &str, request: &str, body: &[u8]) -> String {
    say_with(router, host, request, &format!("Content-Length: {}", body.len()), body)
}

/// The same with that header.
fn say_with(router: IpAddr, host: &str, request: &str, header: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect((router, 80)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn prefix(path: &str) -> HostPath {
    HostPath::Prefix(path.to_owned())
}

fn target(service: &str) -> Target {
    let port = PortRef::Number(80);
    Target { namespace: "default".into(), service: service.into(), port }
}

fn onward(kind: Kind, service: &str) -> Onward {
    Onward { target: Some(target(service)), kind, secure: false }
}

/// With the Service `web` there, `away` behind a port at which nobody listens, and `none` behind none.
fn plan(node: &Node, hosts: BTreeMap<String, HostPlan>, web: SocketAddr) -> RouterPlan {
    let away = SocketAddr::new(node.vip, 9);
    RouterPlan {
        uid: "kube-proxy-test-router".to_owned(),
        ips: [node.vip].into(),
        host_addresses: [].into(),
        hosts,
        backends: [
            (target("web"), [web].into()),
            (target("away"), [away].into()),
            (target("none"), [].into()),
        ]
        .into(),
        certificate: certificate("nobody.test"),
    }
}

/// Who proves to be that host to whoever asks for it.
fn subject_of(address: SocketAddr, host: &str) -> String {
    let script = format!(
        "openssl s_client -connect {address} -servername {host} </dev/null 2>&1 | grep subject"
    );
    output("sh", &["-c", &script])
}

/// One with TLS, in which a DNS object has a path, one of one label, one without TLS, and all others.
fn hosts_of_ingresses() -> BTreeMap<String, HostPlan> {
    let host = |paths: &[(HostPath, Onward)], tls: Option<&str>| HostPlan {
        paths: paths.iter().cloned().collect(),
        tls: tls.map(certificate),
    };
    let to_web = || onward(Kind::Ingress, "web");
    let again = Onward { secure: true, ..to_web() };
    let shop = [
        (prefix("/cart"), to_web()),
        (HostPath::Exact("/cart/".to_owned()), onward(Kind::Ingress, "none")),
        (HostPath::Exact("/only/".to_owned()), to_web()),
        (prefix("/pay"), again),
        (prefix("/old"), onward(Kind::Dns, "web")),
        (prefix("/away"), onward(Kind::Ingress, "away")),
    ];
    let hosts = [
        ("shop.test", host(&shop, Some("shop.test"))),
        ("*.shop.test", host(&[(prefix(""), to_web())], Some("wild.test"))),
        ("plain.test", host(&[(prefix(""), to_web())], None)),
        ("", host(&[(prefix("/any"), to_web())], None)),
    ];
    hosts.map(|(name, plan)| (name.to_owned(), plan)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn ingresses_are_served_with_tls_by_name_and_beside_it_at_the_hosts_own_addresses() {
    let node = Node::new(9).await;
    let mut proxy = node.reconciler().await;
    let own = node.pods.hosts().next().unwrap().into();
    let mut plan = plan(&node, hosts_of_ingresses(), telling_backend());
    plan.host_addresses = [own].into();
    proxy.want_all("Service", Vec::new());
    proxy.want_all(router::KIND, router::specs(&plan));
    settle_all(&mut proxy).await;

    let check = |at: IpAddr, url: &str, status: &str| {
        let (body, found) = fetch(url, at);
        assert_eq!(found, status, "{at} {url} {body}");
        body
    };
    for at in [node.vip, own] {
        // Element by element, and as it was sent.
        let body = check(at, "http://shop.test:80/cart/a%2Fb//c?q=%20", "200");
        assert!(body.starts_with("GET /cart/a%2Fb//c?q=%20 HTTP/1.1\n"), "{body}");
        assert!(body.contains("X-Forwarded-Proto: http\n"), "{body}");
        check(at, "http://shop.test:80/cart", "200");
        check(at, "http://shop.test:80/cart/", "503");
        check(at, "http://shop.test:80/cartoon", "404");
        check(at, "http://shop.test:80/only/", "200");
        check(at, "http://shop.test:80/only", "404");
        check(at, "http://shop.test:80/away", "503");
        check(at, "http://a.shop.test:80/", "200");
        check(at, "http://b.a.shop.test:80/", "404");
        check(at, "http://stranger.test:80/any/x", "200");
        check(at, "http://stranger.test:80/", "404");
        let body = check(at, "https://shop.test:443/pay/now", "200");
        assert!(body.contains("X-Forwarded-Proto: https\n"), "{body}");
        assert!(body.contains("X-Forwarded-For: "), "{body}");
        check(at, "https://plain.test:443/", "404");
        let secure = SocketAddr::new(at, 443);
        for (name, subject) in [
            ("shop.test", "shop.test"),
            ("x.shop.test", "wild.test"),
            ("y.x.shop.test", "nobody.test"),
            ("stranger.test", "nobody.test"),
        ] {
            let found = subject_of(secure, name);
            assert!(found.contains(subject), "{at} {name}: {found}");
        }
    }
    let moved = say(node.vip, "shop.test", "GET /pay/now?a=%2F", b"");
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    assert!(moved.contains("\r\nLocation: https://shop.test/pay/now?a=%2F\r\n"), "{moved}");
    // Paths of DNS objects are the cluster's.
    check(node.vip, "http://shop.test:80/old/x", "200");
    check(own, "http://shop.test:80/old/x", "404");

    // Another certificate, and nothing of the key before it is left.
    let keys = || {
        let folder = node.state.path().join("kube-proxy-test-router");
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let is_key = |file: &std::path::PathBuf| file.extension().is_some_and(|it| it == "key");
        files.filter(is_key).collect::<std::collections::BTreeSet<_>>()
    };
    let before = keys();
    assert_eq!(before.len(), 3);
    plan.hosts.get_mut("shop.test").unwrap().tls = Some(certificate("renewed.test"));
    proxy.want_all(router::KIND, router::specs(&plan));
    settle_all(&mut proxy).await;
    let secure = SocketAddr::new(node.vip, 443);
    until("the other certificate counts", || {
        subject_of(secure, "shop.test").contains("renewed.test")
    });
    let after = keys();
    assert_eq!((after.len(), after.intersection(&before).count()), (3, 2));
    proxy.want_all(router::KIND, Vec::new());
    settle_all(&mut proxy).await;
    assert!(node.docker().list().await.unwrap().is_empty());
    assert!(!node.state.path().join("kube-proxy-test-router").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sees_what_is_below_its_path_of_a_host() {
    let node = Node::new(8).await;
    let mut proxy = node.reconciler().await;
    let paths = [("/p", "web"), ("/p/none", "none"), ("/p/away", "away"), ("/a$b", "web")];
    let paths = paths.map(|(path, service)| (prefix(path), onward(Kind::Dns, service)));
    let hosts = [("shop.test".to_owned(), HostPlan { paths: paths.into(), tls: None })].into();
    let plan = plan(&node, hosts, telling_backend());
    proxy.want_all("Service", Vec::new());
    proxy.want_all(router::KIND, router::specs(&plan));
    settle_all(&mut proxy).await;
    let said = |request: &str| say(node.vip, "shop.test", request, b"");
    let check = |request: &str, expected: &[&str]| {
        let answer = said(request);
        for line in expected {
            assert!(answer.lines().any(|it| it == *line), "no {line:?} in {answer}");
        }
    };
    let client = format!("X-Forwarded-For: {}", node.vip);
    let named =
        ["Host: shop.test", &client, "X-Forwarded-Prefix: /p", "X-Forwarded-Host: shop.test"];
    check("GET /p/x%20y/?q=1", &named);
    check("GET /p/x%20y/?q=1", &["GET /x%20y/?q=1 HTTP/1.1"]);
    check("GET /p/", &["GET / HTTP/1.1"]);
    check("GET /p", &["GET / HTTP/1.1"]);
    check("GET /a$b/x", &["GET /x HTTP/1.1", "X-Forwarded-Prefix: /a$b"]);
    for to in ["/there", "/p/there", "http://HOST/there", "http://HOST/p/there"] {
        check(&format!("GET /p/to?{to}"), &["Location: /p/there"]);
    }
    for to in ["//other.test/there", "http://other.test/there"] {
        let unchanged = format!("Location: {to}");
        check(&format!("GET /p/to?{to}"), &[unchanged.as_str()]);
    }
    // Nobody, a virtual IP behind which nobody is, and no such paths.
    let statuses =
        [("GET /p/none/x", "503"), ("GET /p/away", "503"), ("GET /", "404"), ("GET /px", "404")];
    for (request, status) in statuses {
        assert!(said(request).starts_with(&format!("HTTP/1.1 {status} ")), "{request}");
    }
    let stranger = say(node.vip, "other.test", "GET /p/", b"");
    assert!(stranger.starts_with("HTTP/1.1 404 "), "{stranger}");
    let long = say(node.vip, "shop.test", "POST /p/form", &vec![b'x'; 3_000_000]);
    assert!(long.contains("POST /form HTTP/1.1"), "{long}");
    check("GET /p/within?/p/away", &["within"]);
    check_headers(&node);

    let mut socket = TcpStream::connect((node.vip, 80)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let upgrade = "GET /p/chat HTTP/1.1\r\nHost: shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).unwrap();
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
    socket.write_all(b"ping").unwrap();
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("ping"), "{rest}");

    proxy.want_all(router::KIND, Vec::new());
    settle_all(&mut proxy).await;
    assert!(node.docker().list().await.unwrap().is_empty());
}

/// Long ones pass, both ways, and of upgrades no other than that to WebSocket: behind it nobody looks at paths.
fn check_headers(node: &Node) {
    let long = "x".repeat(30_000);
    let sent = say(node.vip, "shop.test", &format!("GET /p/to?/{long}"), b"");
    let location = format!("Location: /p/{long}");
    assert!(sent.lines().any(|it| it == location), "{}", sent.lines().next().unwrap_or_default());
    let said = |header: &str| say_with(node.vip, "shop.test", "GET /p/x", header, b"");
    let cookie = format!("Cookie: {long}");
    assert!(said(&cookie).lines().any(|it| it == cookie));
    let upgrade = said("Upgrade: h2c");
    assert!(upgrade.contains("GET /x HTTP/1.1") && !upgrade.contains("h2c"), "{upgrade}");
}

/// What a server at that address says; nothing if nobody takes the connection, or it ends without a word.
fn heard(address: SocketAddr) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

async fn who_comes_from_outside_is_led_by_the_policy_for_outside_and_the_balancers_clients_are_chosen(
    form: Form,
) {
    let node = Node::of(form, 8).await;
    let mut proxy = node.proxy().await;
    let (node_address, external, balancer) = (node.here(2), node.here(3), node.here(4));
    let (inside, outside, game) = (backend("inside"), backend("outside"), udp(1));
    let with = |endpoints: &[SocketAddr], ranges: &[&str]| {
        let tcp = PortPlan {
            node_port: Some(30080),
            outside_endpoints: endpoints.iter().copied().collect(),
            ..port(PORT, Protocol::Tcp, &[inside])
        };
        let udp = PortPlan {
            node_port: Some(30080),
            outside_endpoints: [game].into(),
            ..port(PORT, Protocol::Udp, &[game])
        };
        let outside = Outside {
            local_only: true,
            node_addresses: [node_address].into(),
            external_ips: [external].into(),
            balancer_ips: [balancer].into(),
            source_ranges: Some(ranges.iter().map(|range| range.parse().unwrap()).collect()),
            held: [external, balancer].into(),
            health_check: None,
        };
        ServicePlan { outside, ..node.service(vec![tcp, udp]) }
    };
    settle_well(&mut *proxy, &with(&[outside], &["127.0.0.0/8"])).await;
    let at = |address: IpAddr, port: u16| heard(SocketAddr::new(address, port));
    assert_eq!(at(node.vip, PORT), "inside");
    assert_eq!(at(node_address, 30080), "outside");
    assert_eq!((at(external, PORT), at(balancer, PORT)), ("outside".into(), "outside".into()));
    // The address of one way, the port of another.
    assert_eq!((at(node_address, PORT), at(external, 30080)), (String::new(), String::new()));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((node_address, 30080)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"?").unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);

    // Of the balancer's clients, others.
    settle_well(&mut *proxy, &with(&[outside], &["192.0.2.0/24"])).await;
    until("this one is sent away", || at(balancer, PORT).is_empty());
    assert_eq!(at(external, PORT), "outside");

    // No endpoint for those from outside is left: they are refused at once.
    settle_well(&mut *proxy, &with(&[], &["127.0.0.0/8"])).await;
    let refused = |address, port| TcpStream::connect((address, port)).is_err();
    until("all are refused", || {
        refused(node_address, 30080) && refused(external, PORT) && refused(balancer, PORT)
    });
    assert_eq!(at(node.vip, PORT), "inside");
}

async fn a_server_of_the_host_on_a_node_port_is_reported_and_nothing_to_the_virtual_ip(form: Form) {
    let node = Node::of(form, 9).await;
    let mut proxy = node.proxy().await;
    let node_address = node.here(2);
    let taken = TcpListener::bind((node_address, 30080)).unwrap();
    let a = backend("a");
    let port = PortPlan {
        node_port: Some(30080),
        outside_endpoints: [a].into(),
        ..port(PORT, Protocol::Tcp, &[a])
    };
    let outside = Outside { node_addresses: [node_address].into(), ..Outside::default() };
    let wanted = ServicePlan { outside, ..node.service(vec![port]) };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failure = settle(&mut *proxy, &wanted).await.failed.remove(0);
        assert_eq!(failure.subject, "default/web");
        // At first only that it has ended may be known.
        let why = failure.error.to_string();
        if why.contains(&format!("{node_address}:30080")) && why.contains("in use") {
            break;
        }
        assert!(Instant::now() < deadline, "never said: {:?}", failure.error);
    }
    until("the virtual IP is served", || heard(SocketAddr::new(node.vip, PORT)) == "a");
    drop(taken);
    let deadline = Instant::now() + PATIENCE;
    while !settle(&mut *proxy, &wanted).await.failed.is_empty() {
        assert!(Instant::now() < deadline, "not tried again");
    }
    assert_eq!(heard(SocketAddr::new(node_address, 30080)), "a");
}
