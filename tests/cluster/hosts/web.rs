//! Web servers on all hosts, pods that ask them, and the ways to them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    joined::{HOSTS, Joined, Place},
    rig::condition,
};

/// At all addresses of all hosts.
pub(super) const NODE_PORT: u16 = 30080;
/// A name for web servers that pods find by themselves, and one for those who know where it is.
pub(super) const DNS_HOST: &str = "shop.example";
pub(super) const INGRESS_HOST: &str = "store.example";

/// On each host a web server, and two pods that ask it.
fn pods() -> Vec<Value> {
    let web = json!({"name": "main", "image": "minik8s/nginx:0.1",
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1}});
    let asking =
        json!({"name": "main", "image": "minik8s/busybox:0.1", "command": ["sleep", "36000"]});
    let of_host = |host: usize| {
        [("web", &web), ("friend", &asking), ("stranger", &asking)].map(|(app, container)| {
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{app}-{host}"), "labels": {"app": app}},
                "spec": {"nodeName": format!("h{host}"), "terminationGracePeriodSeconds": 0, "containers": [container]}})
        })
    };
    HOSTS.into_iter().flat_map(of_host).collect()
}

/// All ways to the web servers.
fn ways() -> Vec<Value> {
    let service = json!({"name": "web", "port": {"number": 8080}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": {"service": service}});
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
            "type": "NodePort", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"},
            "ports": [{"port": 8080, "targetPort": 80, "nodePort": NODE_PORT}]}}),
        json!({"apiVersion": "minik8s.io/v1", "kind": "DNS", "metadata": {"name": "shop"}, "spec": {
            "host": DNS_HOST, "paths": [{"path": "/web/", "service": {"name": "web", "port": 8080}}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "store"}, "spec": {
            "rules": [{"host": INGRESS_HOST, "http": {"paths": [path]}}]}}),
    ]
}

/// All that, and the pods are ready.
pub(super) async fn populate(cluster: &Joined) {
    let items: Vec<_> = pods().into_iter().chain(ways()).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    cluster
        .until("all pods to be ready", |cluster| {
            let pods = cluster.list("pods");
            let ready = pods.iter().filter(|pod| condition(pod, "Ready") == "True").count();
            if ready == 9 { Ok(()) } else { Err(format!("{ready}")) }
        })
        .await;
    for host in HOSTS {
        let own = cluster.run(host, &["docker", "ps", "-q", "--filter", "name=k8s_main_"]);
        assert_eq!(own.expect_ok().lines().count(), 3, "the pods of host {host} in its Docker");
    }
}

pub(super) fn pod(app: &str, host: usize) -> Place {
    Place::Pod(format!("{app}-{host}"))
}

/// Who answers a dozen connections to each, by its number. One after the other: in turns, ways that meet behind each other would find the
/// same server each time.
fn answers(cluster: &Joined, from: &Place, urls: &[String]) -> BTreeSet<String> {
    let dozen = |(number, url): (usize, &String)| {
        format!("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo {number} $($GET {url}); done; ")
    };
    let all: String = urls.iter().enumerate().map(dozen).collect();
    cluster.shell(from, &all).stdout.lines().map(str::to_owned).collect()
}

/// Waits until all web servers are reached by each of these.
pub(super) async fn reaches_all(cluster: &Joined, from: &Place, urls: &[String]) {
    reaches(cluster, from, urls, &HOSTS).await;
}

/// Waits until the web servers of these hosts are reached by each of these, and no other.
pub(super) async fn reaches(cluster: &Joined, from: &Place, urls: &[String], hosts: &[usize]) {
    let of = |number: usize| hosts.iter().map(move |host| format!("{number} nginx web-{host}"));
    let all: BTreeSet<_> = (0..urls.len()).flat_map(of).collect();
    cluster
        .until(&format!("{urls:?} to be reached from {from:?}"), |cluster| {
            let answers = answers(cluster, from, urls);
            if answers == all { Ok(()) } else { Err(format!("{answers:?}")) }
        })
        .await;
}

/// Waits until somebody answers at so many of these.
pub(super) async fn reaches_so_many(cluster: &Joined, from: &Place, urls: &[String], count: usize) {
    let gets: String = urls.iter().map(|url| format!("$GET {url} & ")).collect();
    cluster
        .until(&format!("{count} of {urls:?} to be reached from {from:?}"), |cluster| {
            let done = cluster.shell(from, &format!("{gets} wait"));
            let is_it = done.stdout.lines().count() == count;
            if is_it { Ok(()) } else { Err(done.stdout + &done.stderr) }
        })
        .await;
}
