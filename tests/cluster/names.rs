//! Names: pods find Services by them, and the host by asking at the address of the cluster's DNS.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use crate::{
    harness::{Backing, Cluster, Done, assert_local, run, until},
    replicasets::{apply_web, ready_pods},
};

/// The tenth address of the tests' services.
const CLUSTER_DNS: &str = "10.97.0.10";

/// A pod to ask from, the web servers by a headless Service, and another name for their Service.
const OBJECTS: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asking", "labels": {"app": "asking"}}, "spec": {
    "hostname": "first", "subdomain": "asked", "terminationGracePeriodSeconds": 1, "containers": [
      {"name": "sh", "image": "minik8s/busybox:0.1", "command": ["sleep", "3600"]}]}},
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "asked"}, "spec": {
    "clusterIP": "None", "selector": {"app": "asking"}}},
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "nginx-service"}, "spec": {
    "selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 80}]}},
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "each"}, "spec": {
    "clusterIP": "None", "selector": {"app": "web"}}},
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "alias"}, "spec": {
    "type": "ExternalName", "externalName": "web.default.svc.cluster.local"}}]}
"#;

/// The original's example.
const HOST: &str = "
kind: DNS
metadata:
  name: dns
spec:
  host: test.nginx
  paths:
    - path: /nginx/
      service:
        name: nginx-service
        port: 8080
    - path: /not-nginx/
      service:
        name: not-nginx-service
        port: 8000
";

/// What comes later: a server in the pod that asks.
const LATE: &str = r#"
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "not-nginx-service"}, "spec": {
  "selector": {"app": "asking"}, "ports": [{"port": 8000, "targetPort": 8000}]}}
"#;

fn apply(cluster: &Cluster, file: &str, manifest: &str) {
    let path = cluster.folder().join(file);
    std::fs::write(&path, manifest).unwrap();
    cluster.kubectl(&["apply", "-f", path.to_str().unwrap()]).expect_ok();
}

fn in_pod(cluster: &Cluster, command: &str) -> Done {
    cluster.kubectl(&["exec", "asking", "--", "sh", "-c", command])
}

async fn answers(cluster: &Cluster, url: &str) {
    answers_with(cluster, url, "nginx ").await;
}

async fn answers_with(cluster: &Cluster, url: &str, beginning: &str) {
    until(&format!("{url} to answer a pod"), async || {
        let done = in_pod(cluster, &format!("timeout 5 wget -q -O - {url}"));
        if done.stdout.starts_with(beginning) { Ok(()) } else { Err(done.stdout + &done.stderr) }
    })
    .await;
}

/// The addresses of a name, as a pod hears of them.
async fn looked_up(cluster: &Cluster, name: &str, expected: &BTreeSet<String>) {
    until(&format!("a pod to find {expected:?} by {name}"), async || {
        let printed = in_pod(cluster, &format!("nslookup -type=a {name}")).stdout;
        let after_server = printed.split("\n\n").skip(1);
        let lines = after_server.flat_map(str::lines).filter_map(|l| l.strip_prefix("Address: "));
        let found: BTreeSet<_> = lines.map(str::to_owned).collect();
        if found == *expected { Ok(()) } else { Err(printed) }
    })
    .await;
}

fn pod_addresses(cluster: &Cluster, label: &str) -> BTreeSet<String> {
    let path = "jsonpath={.items[*].status.podIP}";
    let printed = cluster.kubectl(&["get", "pods", "-l", label, "-o", path]).expect_ok();
    printed.split_whitespace().map(str::to_owned).collect()
}

/// The code and the number of answers of a question for `web` from the host.
fn ask_from_host() -> Result<(u8, u8), String> {
    assert_local(CLUSTER_DNS);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let server: SocketAddr = format!("{CLUSTER_DNS}:53").parse().unwrap();
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["web", "default", "svc", "cluster", "local", ""] {
        question.push(label.len().try_into().unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 1, 0, 1]);
    socket.send_to(&question, server).map_err(|error| error.to_string())?;
    let mut answer = [0; 512];
    socket.recv_from(&mut answer).map_err(|error| error.to_string())?;
    Ok((answer[3] & 15, answer[7]))
}

/// From pods, and from the host that has asked for the address; as soon as there is a Service, until the object goes.
async fn paths_of_a_host(cluster: &Cluster) {
    apply(cluster, "dns.yaml", HOST);
    answers(cluster, "http://test.nginx/nginx/").await;
    let serve = "mkdir /tmp/www && echo late > /tmp/www/x && httpd -p 8000 -h /tmp/www";
    in_pod(cluster, serve).expect_ok();
    apply(cluster, "late.json", LATE);
    answers_with(cluster, "http://test.nginx/not-nginx/x", "late").await;
    let ready = ["wait", "--for=condition=Ready", "dns/dns", "--timeout=60s"];
    cluster.stock_kubectl(&ready).expect_ok();

    let path = "jsonpath={.status.address}";
    let address = cluster.kubectl(&["get", "dns", "dns", "-o", path]).expect_ok();
    assert_local(&address);
    let known = format!("test.nginx:80:{address}");
    let url = "http://test.nginx/not-nginx/x";
    let from_host =
        run("curl", &["-s", "--max-time", "10", "--noproxy", "*", "--resolve", &known, url]);
    assert_eq!(from_host.expect_ok(), "late\n");
    cluster.kubectl(&["delete", "dns", "dns"]).expect_ok();
    until("the address to be free", async || {
        let service = [
            "get",
            "service",
            "dns-router",
            "-n",
            "kube-system",
            "--ignore-not-found",
            "-o",
            "name",
        ];
        let printed = cluster.kubectl(&service).expect_ok();
        if printed.is_empty() { Ok(()) } else { Err(printed) }
    })
    .await;
}

#[tokio::test]
async fn pods_and_the_host_find_services_by_their_names() {
    let cluster = Cluster::start(Backing::Embedded).await;
    apply_web(&cluster);
    apply(&cluster, "names.json", OBJECTS);
    ready_pods(&cluster, 3).await;

    for url in ["http://web:8080/", "http://web.default.svc:8080/", "http://alias:8080/"] {
        answers(&cluster, url).await;
    }
    let file = in_pod(&cluster, "cat /etc/resolv.conf").expect_ok();
    let searched = "search default.svc.cluster.local svc.cluster.local cluster.local";
    assert!(file.starts_with(searched), "{file}");
    let rest = format!("nameserver {CLUSTER_DNS}\noptions ndots:5\n");
    assert!(file.ends_with(&rest), "{file}");

    let domain = "default.svc.cluster.local";
    looked_up(&cluster, &format!("each.{domain}"), &pod_addresses(&cluster, "app=web")).await;
    let own = pod_addresses(&cluster, "app=asking");
    looked_up(&cluster, &format!("first.asked.{domain}"), &own).await;
    until("the host to be answered", async || ask_from_host()).await;

    paths_of_a_host(&cluster).await;

    // No nginx holds the address, and it is served again after kube-proxy was killed.
    cluster.kill(&["kube-proxy"]);
    assert!(cluster.up(&[]).ok);
    until("an answer after a restart", async || match ask_from_host() {
        Ok((0, 1)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    answers(&cluster, "http://web:8080/").await;

    cluster.kubectl(&["delete", "service", "web"]).expect_ok();
    until("the name to go with the service", async || match ask_from_host() {
        Ok((3, 0)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
