//! What pods and Services of three hosts that have joined are to one another.

use serde_json::{Value, json};

use super::{
    faults,
    joined::{HOSTS, Joined, Place},
    web::{DNS_HOST, INGRESS_HOST, NODE_PORT, pod, populate, reaches_all},
};

/// Lets nobody but friends to the web servers.
fn policy() -> Value {
    let from = json!([{"podSelector": {"matchLabels": {"app": "friend"}}}]);
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "friends"}, "spec": {
        "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [{"from": from}]}})
}

/// By its virtual IP and by node ports.
async fn the_service_is_reached_from_everywhere(cluster: &Joined) {
    let url = cluster.url("web");
    for host in HOSTS {
        reaches_all(cluster, &Place::Host(host), &url).await;
        reaches_all(cluster, &pod("friend", host), &url).await;
        let url = format!("http://172.31.98.{}:{NODE_PORT}/", 11 + host);
        for from in [Place::Beside, Place::Host((host + 1) % 3), pod("friend", (host + 2) % 3)] {
            reaches_all(cluster, &from, &url).await;
        }
    }
}

/// By the cluster's DNS, by a DNS object and by an Ingress.
async fn names_lead_to_it(cluster: &Joined) {
    let router =
        cluster.field(&["service", "dns-router", "-n", "kube-system"], "{.spec.clusterIP}");
    let ingress = format!("--header 'Host: {INGRESS_HOST}' http://{router}/");
    for host in HOSTS {
        for name in ["web:8080/", "web.default.svc.cluster.local:8080/", "shop.example/web/"] {
            reaches_all(cluster, &pod("friend", host), &format!("http://{name}")).await;
        }
        for from in [Place::Host(host), pod("friend", host)] {
            reaches_all(cluster, &from, &ingress).await;
        }
        let dns = format!("--resolve {DNS_HOST}:80:{router} http://{DNS_HOST}/web/");
        reaches_all(cluster, &Place::Host(host), &dns).await;
    }
}

/// Friends come to the web servers, strangers do not, by whatever way.
async fn a_policy_holds_on_every_way(cluster: &Joined) {
    cluster.apply(&policy());
    for host in HOSTS {
        let address = cluster.field(&["pod", &format!("web-{host}")], "{.status.podIP}");
        let elsewhere = (host + 1) % 3;
        let at_node = format!("http://172.31.98.{}:{NODE_PORT}/", 11 + host);
        for url in [format!("http://{address}/"), "http://web:8080/".to_owned(), at_node] {
            cluster
                .until("strangers to be kept out", |cluster| {
                    let done = cluster.shell(&pod("stranger", elsewhere), &format!("$GET {url}"));
                    if done.ok { Err(done.stdout) } else { Ok(()) }
                })
                .await;
            cluster
                .until("friends to be let in", |cluster| {
                    let done = cluster.shell(&pod("friend", elsewhere), &format!("$GET {url}"));
                    if done.ok { Ok(()) } else { Err(done.stderr) }
                })
                .await;
        }
    }
    cluster.until_checked().await;
    cluster.kubectl(&["delete", "networkpolicy", "friends"]).expect_ok();
    for host in HOSTS {
        reaches_all(cluster, &pod("stranger", host), "http://web:8080/").await;
    }
}

/// All that a cluster promises while nothing goes wrong.
async fn all_is_reached(cluster: &Joined) {
    populate(cluster).await;
    the_service_is_reached_from_everywhere(cluster).await;
    names_lead_to_it(cluster).await;
    cluster.until_checked().await;
    a_policy_holds_on_every_way(cluster).await;
    cluster.until_checked().await;
}

#[tokio::test]
async fn what_runs_on_one_host_is_reached_from_all_that_have_joined_whatever_goes_wrong_on_them() {
    let mut cluster = Joined::start(&[]).await;
    all_is_reached(&cluster).await;
    faults::come_and_go(&mut cluster).await;
    faults::of_nginxes(&cluster).await;
    cluster.change(&["--nginx", "shared"]);
    cluster.until_checked().await;
    faults::of_nginxes(&cluster).await;
}

#[tokio::test]
#[ignore = "takes many minutes: scripts/test.sh --soak"]
async fn hosts_are_right_again_after_each_of_many_faults() {
    let forms = [
        (["--proxy-mode", "nftables"], 500),
        (["--nginx", "per-service"], 20),
        (["--nginx", "shared"], 500),
    ];
    for (flags, services) in forms {
        let mut cluster = Joined::start(&flags).await;
        all_is_reached(&cluster).await;
        for _ in 0..3 {
            faults::come_and_go(&mut cluster).await;
            faults::at_length(&mut cluster, services).await;
            if flags[0] == "--nginx" {
                faults::of_nginxes(&cluster).await;
            }
        }
    }
}
