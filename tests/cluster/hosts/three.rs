//! What pods and Services of three hosts that have joined are to one another.

use serde_json::{Value, json};

use super::{
    faults,
    joined::{HOSTS, Joined, Place, bracketed, host_urls},
    web::{
        DNS_HOST, INGRESS_HOST, NODE_PORT, pod, populate, reaches, reaches_all, reaches_so_many,
    },
};

/// What DNS objects and Ingresses are served by.
const ROUTER: [&str; 3] = ["dns-router", "-n", "kube-system"];

/// Where pods ask for names: all they need for it is of IPv6.
const CLUSTER_DNS: &str = "fd00:10:98::a";

/// Lets nobody but friends to the web servers.
fn policy() -> Value {
    let from = json!([{"podSelector": {"matchLabels": {"app": "friend"}}}]);
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "friends"}, "spec": {
        "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [{"from": from}]}})
}

/// By their own addresses, on a segment and through the VXLAN.
async fn pods_are_reached_from_all_hosts(cluster: &Joined) {
    for web in HOSTS {
        let urls = cluster.pod_urls(&format!("web-{web}"));
        for host in HOSTS {
            reaches(cluster, &pod("friend", host), &urls, &[web]).await;
        }
    }
}

/// By its virtual IPs and by node ports.
async fn the_service_is_reached_from_everywhere(cluster: &Joined) {
    let urls = cluster.urls("web");
    assert_eq!(urls.len(), 2, "{urls:?}");
    for host in HOSTS {
        reaches_all(cluster, &Place::Host(host), &urls).await;
        reaches_all(cluster, &pod("friend", host), &urls).await;
        let urls = host_urls(host, NODE_PORT);
        for from in [Place::Beside, Place::Host((host + 1) % 3), pod("friend", (host + 2) % 3)] {
            reaches_all(cluster, &from, &urls).await;
        }
    }
}

/// By the cluster's DNS, by a DNS object and by an Ingress.
async fn names_lead_to_it(cluster: &Joined) {
    let router = cluster.virtual_ips(&ROUTER);
    let router: Vec<_> = router.iter().map(|ip| bracketed(ip)).collect();
    let at_router = |url: &dyn Fn(&String) -> String| router.iter().map(url).collect::<Vec<_>>();
    let ingress = at_router(&|ip| format!("--header 'Host: {INGRESS_HOST}' http://{ip}/"));
    let dns = at_router(&|ip| format!("--resolve {DNS_HOST}:80:{ip} http://{DNS_HOST}/web/"));
    let names = ["web:8080/", "web.default.svc.cluster.local:8080/", "shop.example/web/"];
    let names = names.map(|name| format!("http://{name}"));
    for host in HOSTS {
        let friend = pod("friend", host);
        reaches_all(cluster, &friend, &[&names[..], &ingress].concat()).await;
        reaches_all(cluster, &Place::Host(host), &[&dns[..], &ingress].concat()).await;
    }
    are_found_by_both_families(cluster).await;
}

async fn are_found_by_both_families(cluster: &Joined) {
    let web = ("web.default.svc.cluster.local", cluster.virtual_ips(&["web"]));
    for (name, addresses) in [web, (DNS_HOST, cluster.virtual_ips(&ROUTER))] {
        for (kind, address) in ["A", "AAAA"].into_iter().zip(addresses) {
            let asked = cluster.shell(&pod("friend", 0), &format!("nslookup -type={kind} {name}"));
            let found = asked.stdout.lines().any(|line| line.ends_with(&format!(" {address}")));
            assert!(found, "{address} is not in {asked:?}");
        }
    }
}

/// Friends come to the web servers, strangers do not, by whatever way.
async fn a_policy_holds_on_every_way(cluster: &Joined) {
    cluster.apply(&policy());
    let service = [&["http://web:8080/".to_owned()][..], &cluster.urls("web")].concat();
    for host in HOSTS {
        let (pods, node) = (cluster.pod_urls(&format!("web-{host}")), host_urls(host, NODE_PORT));
        let (urls, elsewhere) = ([&service[..], &pods, &node].concat(), (host + 1) % 3);
        reaches_so_many(cluster, &pod("stranger", elsewhere), &urls, 0).await;
        reaches_so_many(cluster, &pod("friend", elsewhere), &urls, urls.len()).await;
    }
    cluster.until_checked().await;
    cluster.kubectl(&["delete", "networkpolicy", "friends"]).expect_ok();
    for host in HOSTS {
        reaches_all(cluster, &pod("stranger", host), &cluster.urls("web")).await;
    }
}

/// All that a cluster promises while nothing goes wrong.
async fn all_is_reached(cluster: &Joined) {
    populate(cluster).await;
    pods_are_reached_from_all_hosts(cluster).await;
    the_service_is_reached_from_everywhere(cluster).await;
    names_lead_to_it(cluster).await;
    cluster.until_checked().await;
    a_policy_holds_on_every_way(cluster).await;
    cluster.until_checked().await;
}

#[tokio::test]
async fn what_runs_on_one_host_is_reached_from_all_that_have_joined_whatever_goes_wrong_on_them() {
    let mut cluster = Joined::start(&["--cluster-dns", CLUSTER_DNS]).await;
    all_is_reached(&cluster).await;
    faults::come_and_go(&mut cluster).await;
    faults::of_nginxes(&cluster).await;
    cluster.change(&["--nginx", "shared"]);
    cluster.until_checked().await;
    faults::of_nginxes(&cluster).await;
    cluster.change(&["--proxy-mode", "nftables"]);
    cluster.until_checked().await;
    the_service_is_reached_from_everywhere(&cluster).await;
    a_policy_holds_on_every_way(&cluster).await;
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
