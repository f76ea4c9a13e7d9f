//! What goes wrong on hosts, and what becomes of it: all comes to rights by itself, and connections that nobody has to end go on.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    joined::{HOSTS, Joined, Place, host_urls},
    rig::condition,
    web::{pod, reaches, reaches_all},
};
use crate::harness::{Replica, until_within};

/// A port of nodes that something else has.
const TAKEN: u16 = 30_081;

/// Connections to the web servers through each of the Service's addresses on each host, over which is asked again and again.
struct Connections(Vec<(TcpStream, String)>);

impl Connections {
    fn open(cluster: &Joined) -> Self {
        let addresses = cluster.virtual_ips(&["web"]);
        let open = |(host, address): (usize, &String)| {
            let stream = cluster.inside(host, || TcpStream::connect((address.as_str(), 8080)));
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let server = ask(&mut stream);
            (stream, server)
        };
        let all = HOSTS.into_iter().flat_map(|host| addresses.iter().map(move |it| (host, it)));
        Connections(all.map(open).collect())
    }

    #[track_caller]
    fn are_alive(&mut self) {
        for (stream, server) in &mut self.0 {
            assert_eq!(ask(stream), *server);
        }
    }
}

/// The body of an answer, which is a line.
fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the connection ended: {answer}");
        answer += std::str::from_utf8(&buffer[..length]).unwrap();
        if let Some((_, body)) = answer.split_once("\r\n\r\n")
            && body.ends_with('\n')
        {
            return body.to_owned();
        }
    }
}

/// Waits until all hosts are as they should be, and reach all web servers.
async fn settled(cluster: &Joined) {
    cluster.until_checked().await;
    for host in HOSTS {
        for from in [Place::Host(host), pod("friend", host)] {
            reaches_all(cluster, &from, &cluster.urls("web")).await;
        }
    }
}

/// One after the other, whatever carries the Services.
pub(super) async fn come_and_go(cluster: &mut Joined) {
    let mut connections = Connections::open(cluster);
    rules_are_flushed(cluster).await;
    connections.are_alive();
    kube_proxy_is_killed_in_the_middle_of_changes(cluster).await;
    connections.are_alive();
    docker_is_restarted(cluster).await;
    connections.are_alive();
    a_host_is_cut_off(cluster).await;
    connections.are_alive();
    endpoints_flap(cluster, 300).await;
    connections.are_alive();
}

/// Those that only nginxes meet.
pub(super) async fn of_nginxes(cluster: &Joined) {
    let mut connections = Connections::open(cluster);
    a_port_is_taken(cluster).await;
    connections.are_alive();
    nginxes_are_removed(cluster).await;
}

/// Those that take long.
pub(super) async fn at_length(cluster: &mut Joined, services: usize) {
    let mut connections = Connections::open(cluster);
    services_come_and_go(cluster, services).await;
    connections.are_alive();
    a_host_is_lost(cluster).await;
    connections.are_alive();
    endpoints_flap(cluster, 3_000).await;
    connections.are_alive();
}

/// Those of iptables are among them.
async fn rules_are_flushed(cluster: &Joined) {
    cluster.run(1, &["nft", "flush", "ruleset"]).expect_ok();
    settled(cluster).await;
}

async fn nginxes_are_removed(cluster: &Joined) {
    let remove = "docker ps -q --filter label=io.minik8s.service | xargs -r docker rm -f";
    cluster.run(1, &["sh", "-c", remove]).expect_ok();
    settled(cluster).await;
}

/// A Service for the web servers.
fn service(name: &str, spec: &Value) -> Value {
    let mut all = json!({"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 80}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"passing": "true"}}, "spec": all})
}

async fn kube_proxy_is_killed_in_the_middle_of_changes(cluster: &Joined) {
    let names = ["one", "two", "three", "four"];
    let services = names.map(|name| service(name, &json!({})));
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": services}));
    cluster.kill(&HOSTS, "kube-proxy");
    cluster.restart(&HOSTS);
    for host in HOSTS {
        reaches_all(cluster, &Place::Host(host), &cluster.urls("three")).await;
    }
    cluster.kubectl(&["delete", "services", "-l", "passing=true"]).expect_ok();
    cluster.kill(&HOSTS, "kube-proxy");
    cluster.restart(&HOSTS);
    settled(cluster).await;
}

/// Half of them in each round, by nobody's order.
async fn services_come_and_go(cluster: &Joined, count: usize) {
    for round in 0..4_usize {
        let (stay, go): (Vec<_>, Vec<_>) =
            (0..count).partition(|number| (number * 7919 + round * 104_729) / 3 % 2 == 0);
        let name = |number: usize| format!("passing-{number}");
        let items: Vec<_> = stay.iter().map(|number| service(&name(*number), &json!({}))).collect();
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
        let go: Vec<_> = go.into_iter().map(name).collect();
        let delete = ["delete", "services", "--ignore-not-found"].into_iter();
        let delete: Vec<_> = delete.chain(go.iter().map(String::as_str)).collect();
        cluster.kubectl(&delete).expect_ok();
        for host in HOSTS {
            let urls = cluster.urls(&name(stay[round]));
            reaches_all(cluster, &Place::Host(host), &urls).await;
        }
    }
    cluster.until_checked().await;
    cluster.kubectl(&["delete", "services", "-l", "passing=true"]).expect_ok();
    settled(cluster).await;
}

async fn docker_is_restarted(cluster: &mut Joined) {
    cluster.stop_docker(1);
    cluster.start_docker(1).await;
    settled(cluster).await;
}

/// What changes meanwhile it finds when it is back.
async fn a_host_is_cut_off(cluster: &Joined) {
    cluster.plug(2, false);
    cluster.apply(&service("meanwhile", &json!({})));
    cluster.plug(2, true);
    reaches_all(cluster, &Place::Host(2), &cluster.urls("meanwhile")).await;
    cluster.kubectl(&["delete", "service", "meanwhile"]).expect_ok();
    settled(cluster).await;
}

/// Until its node is taken for lost.
async fn a_host_is_lost(cluster: &Joined) {
    cluster.plug(2, false);
    until_within(Duration::from_secs(120), "the node to be lost", async || {
        match cluster.list("nodes").iter().filter(|it| condition(it, "Ready") == "Unknown").count()
        {
            1 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;
    for host in [0, 1] {
        reaches(cluster, &Place::Host(host), &cluster.urls("web"), &[0, 1]).await;
    }
    cluster.plug(2, true);
    settled(cluster).await;
}

/// A hundred times a second, from one of the web servers to the two others and back. All are there: nobody fails.
async fn endpoints_flap(cluster: &Joined, times: usize) {
    let ports = json!([{"port": 8080, "targetPort": 80}]);
    let endpoints = |hosts: &[usize]| {
        let address = |host: &usize| {
            let ip = cluster.field(&["pod", &format!("web-{host}")], "{.status.podIP}");
            json!({"addresses": [ip], "conditions": {"ready": true}})
        };
        hosts.iter().map(address).collect::<Vec<_>>()
    };
    let states = [endpoints(&[0]), endpoints(&[1, 2])];
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "flapping", "labels": {"kubernetes.io/service-name": "flapping"}},
        "ports": [{"port": 80}], "endpoints": states[0]});
    let flapping = service("flapping", &json!({"selector": null, "ports": ports}));
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [flapping, slice]}));
    let urls = cluster.urls("flapping");
    for host in HOSTS {
        reaches(cluster, &Place::Host(host), &urls, &[0]).await;
    }
    let path = "apis/discovery.k8s.io/v1/namespaces/default/endpointslices/flapping";
    let changes = (0..times).map(|count| json!({"endpoints": states[(count + 1) % 2]}));
    let mut patching = cluster.patch_at_rate(path, changes, 100);
    while patching.try_wait().unwrap().is_none() {
        for host in HOSTS {
            // Longer than a packet that is lost on a busy machine takes to be sent again.
            let get = format!("curl -sS --max-time 20 {}", urls[0]);
            let done = cluster.shell(&Place::Host(host), &get);
            assert!(done.ok, "{}", done.stderr);
        }
    }
    assert!(patching.wait().unwrap().success(), "the changes were not made");
    for host in HOSTS {
        reaches(cluster, &Place::Host(host), &urls, [&[0][..], &[1, 2]][times % 2]).await;
    }
    cluster.kubectl(&["delete", "service/flapping", "endpointslice/flapping"]).expect_ok();
    settled(cluster).await;
}

/// By a process of the host, which nobody has to give way to: the Service has its virtual IP, and its node port everywhere else.
async fn a_port_is_taken(cluster: &Joined) {
    // The holder has it at addresses of IPv4.
    let at = |host: usize| host_urls(host, TAKEN).remove(0);
    let holder = cluster.spawn(1, &["python3", "-m", "http.server", &TAKEN.to_string()]);
    let holder = Replica(holder);
    cluster
        .until("the port to be taken", |cluster| {
            let done = cluster.shell(&Place::Beside, &format!("$GET {}", at(1)));
            if done.stdout.contains("Directory listing") { Ok(()) } else { Err(done.stderr) }
        })
        .await;
    let ports = json!([{"port": 8080, "targetPort": 80, "nodePort": TAKEN}]);
    cluster.apply(&service("clashing", &json!({"type": "NodePort", "ports": ports})));
    for host in HOSTS {
        reaches_all(cluster, &Place::Host(host), &cluster.urls("clashing")).await;
    }
    for host in [0, 2] {
        reaches_all(cluster, &Place::Beside, &[at(host)]).await;
    }
    cluster
        .until("an event to say so", |cluster| {
            let events = cluster.kubectl(&["get", "events"]).stdout;
            if events.contains(&TAKEN.to_string()) { Ok(()) } else { Err(events) }
        })
        .await;
    drop(holder);
    reaches_all(cluster, &Place::Beside, &[at(1)]).await;
    cluster.kubectl(&["delete", "service", "clashing"]).expect_ok();
    settled(cluster).await;
}
