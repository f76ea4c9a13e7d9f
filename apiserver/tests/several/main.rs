//! Several API servers of one cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod load;
mod rig;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use api_types::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest},
    core::v1::{ConfigMap, Endpoints, Namespace, Pod, Service, ServiceAccount},
};
use futures::future::join_all;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use listwatch::ListWatch;
use testkit::{Apiserver, service, wait};

use crate::{
    load::{Load, Told},
    rig::{Pair, balancer},
};

/// Clients on either server write, listeners listen, and one server is killed and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_servers_may_die_under_load() {
    let mut pair = Pair::start().await;
    let [first, second] = pair.servers.each_ref().map(Apiserver::address);
    let fronts = [balancer([first, second]).await, balancer([second, first]).await];
    let (uncounted, watches) = (Arc::default(), Arc::default());
    let one = pair.client(fronts[0], &uncounted).await;
    let other = pair.client(fronts[1], &uncounted).await;
    let listening = pair.client(fronts[0], &watches).await;
    let by_redis =
        ListWatch::new(listening, Some(&pair.redis.server()), &component::Tasks::default())
            .unwrap();
    let by_redis = Told::by(&by_redis).await;
    let by_http =
        Told::by(&ListWatch::new(one.clone(), None, &component::Tasks::default()).unwrap()).await;

    let load = Load::start([&one, &one, &other, &other].map(Client::clone));
    endpoints_are(&other, &[first, second]).await;
    a_namespace_is_there_for_both(&one, &other).await;
    a_token_of_either_is_taken_by_both(&pair, [&one, &other]).await;
    no_address_and_no_node_port_is_given_twice(&one, &other).await;
    load.goes_on().await;
    pair.servers[0].kill();
    load.goes_on().await;
    endpoints_are(&other, &[second]).await;
    pair.servers[0].restart().await;
    endpoints_are(&other, &[first, second]).await;
    load.goes_on().await;

    let (acknowledged, left) = load.stop().await;
    let again = pair.client(first, &uncounted).await;
    for client in [&again, &other] {
        assert_eq!(labels(client).await, left);
    }
    saw_every_change_once(&by_http, &acknowledged, "over HTTP").await;
    saw_every_change_once(&by_redis, &acknowledged, "over Redis").await;
    let all = by_http.changes();
    wait::until("both have told the same", async || {
        let told = by_redis.changes();
        if told == all { Ok(()) } else { Err((told.len(), all.len())) }
    })
    .await;
    assert_eq!(watches.load(Ordering::Relaxed), 0, "with Redis no watch is needed");
}

async fn endpoints_are(client: &Client, servers: &[SocketAddr]) {
    let endpoints: Api<Endpoints> = Api::default_namespaced(client.clone());
    let expected: BTreeSet<_> = servers.iter().map(|server| server.ip().to_string()).collect();
    let has_expected = |found: &Endpoints| {
        let addresses = found.subsets.iter().flatten().flat_map(|s| s.addresses.iter().flatten());
        addresses.map(|address| address.ip.clone()).collect::<BTreeSet<_>>() == expected
    };
    let what = format!("has {expected:?}");
    wait::until_is(&endpoints, "kubernetes", &what, has_expected).await;
}

/// What one server has acknowledged, the other one knows at once.
async fn a_namespace_is_there_for_both(one: &Client, other: &Client) {
    for i in 0..20 {
        let name = format!("n{i}");
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.clone());
        let namespaces: Api<Namespace> = Api::all(one.clone());
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let mut map = ConfigMap::default();
        map.metadata.name = Some("m".to_owned());
        let maps: Api<ConfigMap> = Api::namespaced(other.clone(), &name);
        maps.create(&PostParams::default(), &map).await.unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(one.clone(), &name);
        let listed = maps.list(&ListParams::default()).await.unwrap();
        assert_eq!(listed.items.len(), 1, "a list is as new as the latest write");
    }
}

/// Whatever a server knows of an account by now, it is there.
async fn a_token_of_either_is_taken_by_both(pair: &Pair, clients: [&Client; 2]) {
    for (i, client) in clients.into_iter().enumerate() {
        let name = format!("robot{i}");
        let mut account = ServiceAccount::default();
        account.metadata.name = Some(name.clone());
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let request = TokenRequest::default();
        let made = accounts.create_token_request(&name, &PostParams::default(), &request).await;
        let token = made.unwrap().status.unwrap().token.unwrap();
        for server in &pair.servers {
            let client = pair.client_with_token(server.address(), &token).await;
            let reviews: Api<SelfSubjectReview> = Api::all(client);
            let asked = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
            let user = asked.unwrap().status.unwrap().user_info.unwrap().username.unwrap();
            assert_eq!(user, format!("system:serviceaccount:default:{name}"));
        }
    }
}

/// More services are wanted than there are addresses, and nearly as many as there are node ports.
async fn no_address_and_no_node_port_is_given_twice(one: &Client, other: &Client) {
    let create = async |client: &Client, name: String| {
        let services: Api<Service> = Api::default_namespaced(client.clone());
        let mut service = service(&name).port(80, 80).build();
        service.spec.get_or_insert_default().type_ = Some("NodePort".to_owned());
        services.create(&PostParams::default(), &service).await
    };
    let wanted =
        (0..20).flat_map(|i| [create(one, format!("a{i}")), create(other, format!("b{i}"))]);
    let created = join_all(wanted).await;
    let specs: Vec<_> = created.into_iter().flatten().filter_map(|service| service.spec).collect();
    let addresses: Vec<_> = specs.iter().filter_map(|spec| spec.cluster_ip.as_ref()).collect();
    let ports = specs.iter().flat_map(|spec| spec.ports.iter().flatten());
    let node_ports: BTreeSet<_> = ports.filter_map(|port| port.node_port).collect();
    assert_eq!(node_ports.len(), specs.len());
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len(), "{addresses:?}");
    assert_eq!(addresses.len(), 29, "all but that of the service kubernetes");
}

async fn labels(client: &Client) -> BTreeMap<String, String> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let list = pods.list(&ListParams::default()).await.unwrap();
    list.iter().map(|pod| (pod.name_any(), pod.labels()["i"].clone())).collect()
}

/// As versions only grow, none was told twice or out of turn.
async fn saw_every_change_once(told: &Told, acknowledged: &[(String, u64)], how: &str) {
    wait::until("all that was acknowledged is told", async || {
        let changes: BTreeSet<_> = told.changes().into_iter().collect();
        let missing: Vec<_> =
            acknowledged.iter().filter(|change| !changes.contains(change)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{how}: {missing:?}")) }
    })
    .await;
    let versions: Vec<_> = told.changes().into_iter().map(|(_, version)| version).collect();
    assert!(versions.is_sorted_by(|before, after| before < after), "{how}: {versions:?}");
    assert_eq!(told.lists(), 1, "{how}: nothing was listed anew");
}
